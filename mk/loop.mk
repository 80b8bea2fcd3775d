# The scheduler: one target a task, its merge message; auton-plan writes what each waits for.
# Runs in the mailbox. make -k -jN carries N tasks at once; a task that is blocked is a target that was not made.
# Whoever carries one ends when make does, however that ends.
.SECONDARY:

MAILBOX := .

merged:

include graph.mk

# What is filed stays, though its step fails after that or a signal ends it.
.PRECIOUS: $(TASKS:%=$(MAILBOX)/merge/%.json)

.PHONY: merged
merged: $(TASKS:%=$(MAILBOX)/merge/%.json)

$(MAILBOX)/merge/%.json:
	@cd "$$AUTON_DIRECTORY" && exec setpriv --pdeathsig TERM -- $(LAUNCH) "$$AUTON" step $*
