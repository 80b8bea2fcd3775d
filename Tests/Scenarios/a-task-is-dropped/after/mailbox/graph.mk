# The task graph, written by auton-plan.
TASKS := lib-003
