; The boot sector: fetches the loader and jumps there.

%include "layout.inc"

org MBR
bits 16

; In:  real mode; DL = drive. CS:IP = 0x7C00 in whatever way, all else undefined.
; Out: jumps to LOADER, read from the disk; CS = DS = ES = SS = 0, SP = STACK_TOP, DF clear, interrupts on, DL kept.
;      EAX, BX, CX lost.
start:
	cli					; there is no stack in between
	xor ax, ax
	mov ss, ax
	mov sp, STACK_TOP
	mov ds, ax
	mov es, ax
	cld
	jmp 0:.flat
.flat:	mov eax, LOADER_SECTOR
	mov cx, LOADER_SECTORS
	mov bx, LOADER >> 4
	call disk_read
	jmp 0:LOADER

%include "disk.inc"

	times 510 - ($ - $$) db 0
	db 0x55, 0xAA
