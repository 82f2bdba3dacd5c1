# jail_calls.awk - collect "seccomp [group]: call[(arg=value[/mask])], ... [- why]" from the comments
# of C sources into the rows of a struct jail_call table (base/jail.h), without doubles. Commas may be
# left out. A value is a number, "self", or a constant of the headers that the table's file includes.
BEGIN {
	groups["always"] = "JAIL_ALWAYS"
	groups["setup"] = "JAIL_SETUP"
	groups["kvm"] = "JAIL_KVM"
	groups["share"] = "JAIL_SHARE"
	groups["network"] = "JAIL_NETWORK"
	print "/* Collected by base/jail_calls.awk; do not change. */"
}

function fail(what)
{
	printf "%s:%d: %s\n", FILENAME, FNR, what > "/dev/stderr"
	failed = 1
	exit 1
}

function row(call, group,   name, cond, arg, value, mask, self, text)
{
	if (!match(call, /^[a-z0-9_]+/))
		fail("not a system call: " call)
	name = substr(call, 1, RLENGTH)
	cond = substr(call, RLENGTH + 1)
	arg = "JAIL_ANY"
	value = mask = "0"
	self = "false"
	if (cond != "") {
		if (cond !~ /^\([0-5]=[0-9a-zA-Z_]+(\/0?x?[0-9a-fA-F]+)?\)$/)
			fail("not a condition: " cond)
		arg = substr(cond, 2, 1)
		value = substr(cond, 4, length(cond) - 4)
		mask = "UINT32_MAX"
		if (value ~ /\//) {
			mask = value
			sub(/^.*\//, "", mask)
			sub(/\/.*$/, "", value)
		}
		if (value == "self") {
			self = "true"
			value = "0"
		}
	}
	text = sprintf("\t{ \"%s\", %s, %s, %s, %s, %s },", name, group, arg, self, value, mask)
	if (!(text in seen)) {
		seen[text] = 1
		print text
	}
}

# Only where it is written as a comment: at the start of one, or of a line in one.
/^[ \t]*(\/\*|\*)[ \t]*seccomp( [a-z]+)?:/ {
	group = "always"
	line = $0
	sub(/^[ \t]*(\/\*|\*)[ \t]*seccomp/, "", line)
	if (match(line, /^ [a-z]+:/))
		group = substr(line, 2, RLENGTH - 2)
	if (!(group in groups))
		fail("no such group: " group)
	sub(/^[^:]*:[ \t]*/, "", line)
	sub(/ - .*$/, "", line)
	sub(/[ \t]*\*\/.*$/, "", line)
	sub(/[ \t,]+$/, "", line)
	n = split(line, calls, /[ \t,]+/)
	for (i = 1; i <= n; i++)
		row(calls[i], groups[group])
}

END {
	exit failed
}
