# The task graph, written by auton-plan.
TASKS := lib-002 lib-001
$(MAILBOX)/merge/lib-002.json: | $(MAILBOX)/merge/lib-001.json
