# The scheduler: one target a task, its merge message; auton-plan writes what each waits for.
# Runs in the mailbox. make -k -jN carries N tasks at once; a task that is blocked is a target that was not made.
# Whoever carries one ends when make does, however that ends.
.DELETE_ON_ERROR:
.SECONDARY:

MAILBOX := .

merged:

include graph.mk

.PHONY: merged
merged: $(TASKS:%=$(MAILBOX)/merge/%.json)

$(MAILBOX)/merge/%.json:
	@cd "$$AUTON_DIRECTORY" && exec setpriv --pdeathsig TERM -- $(LAUNCH) "$$AUTON" step $*
