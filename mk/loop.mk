# The scheduler: one target a task, its merge message; auton-plan writes what each waits for.
# make -k -jN carries N tasks at once; a task that is blocked is a target that was not made.
.DELETE_ON_ERROR:
.SECONDARY:

merged:

include $(MAILBOX)/graph.mk

.PHONY: merged
merged: $(TASKS:%=$(MAILBOX)/merge/%.json)

$(MAILBOX)/merge/%.json:
	@$(LAUNCH) $(AUTON) step $*
