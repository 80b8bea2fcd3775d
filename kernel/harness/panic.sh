#!/bin/sh
# panic.sh SUITE.NAME STATUS: judges a boot that was to end in a panic by QEMU's exit status, build/test.console and build/test.ktap.
# The lines of acceptance/SUITE/NAME.panic, extended regular expressions, are on the console in their order, the last of them as its last
# line. Where that is the panic's, the report has the same reason.
name=$1 status=$2
expected=acceptance/${name%%.*}/${name#*.}.panic

refuse() {
	printf 'not ok %s: %s\n' "$name" "$1" >&2
	tail -n 20 build/test.lines >&2
	exit 1
}

tr -d '\r' <build/test.console >build/test.lines
[ "$status" -eq 37 ] || refuse "qemu exited with status $status"
[ -f "$expected" ] || refuse "there is no $expected"
grep -Ev '^(#|$)' "$expected" >build/test.expected

last=$(wc -l <build/test.lines) count=$(wc -l <build/test.expected) number=0 at=0
while IFS= read -r re; do
	number=$((number + 1))
	if [ $number -eq "$count" ]; then
		[ "$at" -lt "$last" ] && tail -n 1 build/test.lines | grep -Eq -e "$re" || refuse "the last line does not match: $re"
	else
		found=$(tail -n +$((at + 1)) build/test.lines | grep -En -m 1 -e "$re" | cut -d: -f1)
		[ -n "$found" ] || refuse "after line $at none matches: $re"
		at=$((at + found))
	fi
done <build/test.expected

reason=$(sed -n 's/^# panic: //p' build/test.ktap)
case $(tail -n 1 build/test.lines) in
"panic: $reason"|"panic: cpu "[0-9]*": $reason") ;;
"panic: "*) refuse "the report says: $reason" ;;
*) [ -n "$reason" ] || refuse 'the report says nothing' ;;
esac
echo "ok $name"
