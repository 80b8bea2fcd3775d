; The Multiboot2 way in: the header that loaders look for, and the entry that they find in it.

BOOT_PATH_MULTIBOOT2	equ 2			; enum boot_path in boot.h
INFO_ROOM		equ 32768			; for information that has to be moved; a multiple of 4

MB2_HEADER_MAGIC	equ 0xE85250D6
MB2_ARCH_I386		equ 0			; 32-bit protected mode
MB2_TAG_END		equ 0			; of the header
MB2_TAG_REQUEST		equ 1
MB2_TAG_ENTRY		equ 3
MB2_INFO_CMDLINE	equ 1			; of the information
MB2_INFO_MODULE		equ 3
MB2_INFO_MEMMAP		equ 6
MB2_INFO_RSDP_OLD	equ 14
MB2_INFO_RSDP_NEW	equ 15

; First in the image (kernel.ld); the sum of the first four numbers is 0. Every tag is at a multiple of 8: u16 type, u16
; flags, u32 size without the padding. No flag is set: a loader that does not know what is asked for has to refuse the
; kernel.
section .multiboot2 progbits alloc noexec nowrite align=8
header:
	dd MB2_HEADER_MAGIC
	dd MB2_ARCH_I386
	dd header_end - header
	dd 0x100000000 - (MB2_HEADER_MAGIC + MB2_ARCH_I386 + (header_end - header))

request:
	dw MB2_TAG_REQUEST, 0
	dd request_end - request
	dd MB2_INFO_CMDLINE, MB2_INFO_MODULE, MB2_INFO_MEMMAP, MB2_INFO_RSDP_OLD, MB2_INFO_RSDP_NEW
request_end:
	align 8, db 0

entry:
	dw MB2_TAG_ENTRY, 0
	dd entry_end - entry
	dd mb2_start
entry_end:
	align 8, db 0

	dw MB2_TAG_END, 0
	dd 8
header_end:

section .boot.text progbits alloc exec nowrite align=16
bits 32
extern boot_start, __kernel_phys_start, __kernel_phys_end

; Multiboot2 entry. A loader may put the information where the image has a gap: between the end of a segment and that of
; its last page (GRUB does so). The gaps at the end of bss are cleared with bss, so information that begins within the
; image is copied out of the way, wherever that is. Most gaps have a segment behind them, and what lies in one is less
; than a page. The last one is open: what begins there may be of any size, and goes on behind the image. If that is
; INFO_ROOM or more it stays, its beginning is cleared with bss, and mb2_parse refuses the total size of 0.
; In:  32-bit protected mode, flat segments, paging and interrupts off; EBX = Multiboot2 information. EAX has the
;      loader's magic, which nobody looks at: who else would come here. All else undefined.
; Out: jumps to boot_start (entry.asm), ESI = path, EBX = information, which nothing overwrites before it is parsed
;      (but for what is too long, as said). DF clear. ECX, EDI lost.
global mb2_start
mb2_start:
	cld
	cmp ebx, __kernel_phys_start
	jb .keep
	cmp ebx, __kernel_phys_end
	jae .keep
	mov ecx, [ebx]				; the total size
	cmp ecx, INFO_ROOM
	jae .keep
	mov esi, ebx
	mov edi, information
	mov ebx, edi
	shr ecx, 2
	inc ecx					; what is left of four bytes, too; and the size itself, even if it is 0
	rep movsd
.keep:	mov esi, BOOT_PATH_MULTIBOOT2
	jmp boot_start

section .boot.bss nobits alloc noexec write align=4096
information:	resb INFO_ROOM			; its copy, read by kernel_main before init_run(), by nobody after that
