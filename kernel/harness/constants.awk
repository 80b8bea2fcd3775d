# What the spec says that a header's constants are, as assertions for the compiler: tests take them from the header, and would go by whatever
# it says. One that the header does not define is nothing else there either.
#     awk -f constants.awk header=include/mm.h spec/*.md

# A heading names the headers whose text comes below it.
/^#+ / { is_header = index($0, "`" header "`") > 0 }

is_header && /^#define [A-Za-z_0-9]+[ \t]/ {
	value = $0
	sub(/^#define [A-Za-z_0-9]+[ \t]+/, "", value)
	sub(/[ \t]*(\/\*.*)?$/, "", value)
	if (value != "" && value !~ /[{"]/)
		printf "#ifdef %s\n_Static_assert((%s) == (%s), \"the spec has another %s\");\n#else\nextern char %s[];\n#endif\n", $2, $2, value, $2, $2
}
