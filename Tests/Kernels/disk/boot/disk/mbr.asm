; The boot sector: loads the sectors behind it, which are the loader's, and goes there.
; In:  real mode, at 0x7C00 however CS:IP say it, DL = drive. Out: at 0x7E00, CS = DS = ES = SS = 0, DL kept.
bits 16
org 0x7C00

LOADER		equ 0x7E00
LOADER_SECTORS	equ 63

	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7C00
	jmp 0:start
start:
	sti
	cld
	call read
	jmp LOADER

%include "bios.inc"

	align 4, db 0
packet:	db 16, 0
	dw LOADER_SECTORS
	dw LOADER, 0				; offset, segment
	dq 1

	times 510 - ($ - $$) db 0
	dw 0xAA55
