# The table of a kernel's functions, as assembly that has nothing but data; kernel/spec/boot.md has its form. In: what
# `readelf -sW` says of the image, sorted by address, binding and name, twice over; nothing gives an empty table.
# An address above KERNEL_BASE, which is -2 GiB, differs from its offset there by the first bit of its lower half.

BEGIN { count = at = 0 }
NR == FNR && $8 == "__text_start" { first = $2 "" }
NR == FNR && $8 == "__text_end" { last = $2 "" }
NR == FNR { next }

# Of asm's labels, which have no type, those are functions that have no dot in their name. Of several names of one address the
# first counts: a global one, if there is.
($4 == "FUNC" || ($4 == "NOTYPE" && $8 !~ /[.]/)) && $2 "" >= first && $2 "" < last && $8 !~ /^__/ && $2 "" != before {
	before = $2 ""
	address[count] = (substr($2, 9, 1) - 8) substr($2, 10)
	name[count++] = $8
}

END {
	print "\t.section .rodata.symbols, \"a\", @progbits\n\t.globl symbol_table, symbol_count, symbol_names\n\t.balign 8\nsymbol_table:"
	for (i = 0; i < count; i++) {
		printf "\t.long 0x%s, %d\n", address[i], at
		at += length(name[i]) + 1
	}
	print "symbol_count:\n\t.long " count + 0 "\nsymbol_names:"
	for (i = 0; i < count; i++)
		print "\t.asciz \"" name[i] "\""
	print "\t.section .note.GNU-stack, \"\", @progbits"
}
