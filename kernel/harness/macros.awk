# Which macros of the kernel's own would replace words of an acceptance test, or of the harness, that the spec does not define:
# a test whose helper or variable has such a name would not do what it says. Reads the spec's pages, then the sources without their
# comments (-fpreprocessed -dD -E -P), then what the preprocessor makes of the test with all definitions (-E -dD).
#     awk -f macros.awk spec/*.md part=words SOURCES part=definitions PREPROCESSED

BEGIN { definition = "^[ \t]*#[ \t]*define[ \t]+" }

part == "" {
	if ($0 ~ definition)
		known[name($0)] = 1
}

part == "words" {
	text = $0
	while (match(text, /[A-Za-z_][A-Za-z0-9_]*/)) {
		words[substr(text, RSTART, RLENGTH)] = 1
		text = substr(text, RSTART + RLENGTH)
	}
}

# A line of the form # 12 "file" says where what follows is from.
part == "definitions" && /^# [0-9]+ "/ {
	file = $3
	gsub(/"/, "", file)
	theirs = file ~ /^(\.\/)?(acceptance|harness)\// || file ~ /^[\/<]/
}

part == "definitions" && !theirs && $0 ~ definition {
	macro = name($0)
	if (macro in words && !(macro in known)) {
		print "error: " file ": the macro " macro " would replace a word of an acceptance test; the spec has none of that name" > "/dev/stderr"
		found = 1
	}
}

END { exit found }

function name(line) {
	sub(definition, "", line)
	match(line, /^[A-Za-z_][A-Za-z0-9_]*/)
	return substr(line, 1, RLENGTH)
}
