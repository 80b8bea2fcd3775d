#pragma once

/* Panics. */
_Noreturn void refuse_sum(void);
