; The harness's own entry will do.
%include "stub.asm"
