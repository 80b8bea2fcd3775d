; A Multiboot2 header, and an entry that keeps what the loader told and goes on as PVH.

MB2_MAGIC	equ 0xE85250D6
TAG_END		equ 0
TAG_ENTRY	equ 3

section .multiboot2 progbits alloc noexec nowrite align=8
header:
	dd MB2_MAGIC
	dd 0					; i386, 32-bit protected mode
	dd header_end - header
	dd -(MB2_MAGIC + header_end - header)
	dw TAG_ENTRY, 0
	dd 12, mb2_start, 0			; with padding to 8
	dw TAG_END, 0
	dd 8
header_end:

section .boot.text progbits alloc exec nowrite align=16
bits 32
extern pvh_start
; In:  as PVH, and EAX = the loader's magic, EBX = its information.
; Out: pvh_start, both kept in .boot.data.
mb2_start:
	mov [multiboot2_magic], eax
	mov [multiboot2_information], ebx
	jmp pvh_start

section .boot.data progbits alloc noexec write align=4
global multiboot2_magic, multiboot2_information
multiboot2_magic:	dd 0
multiboot2_information:	dd 0
