; From the loader to kernel_main: PVH entry, page tables, long mode, high half, own GDT, clear bss, boot stack.
; mb2_entry.asm has the other way in.
;
; EBX holds the start information's physical address from an entry to the call of kernel_main, ESI the path; no stage
; between touches them. There is no stack before the last stage, and no IDT in any: interrupts stay off, as the loader
; left them.

BOOT_PATH_PVH		equ 1			; enum boot_path in boot.h
BOOT_STACK_SIZE		equ 32768		; boot.h

XEN_ELFNOTE_PHYS32_ENTRY equ 18

PTE_PRESENT		equ 1 << 0
PTE_WRITE		equ 1 << 1
PTE_LARGE		equ 1 << 7
PTE_TABLE		equ PTE_PRESENT | PTE_WRITE	; one that points to the next level
PAGE_SIZE		equ 4096
LARGE_PAGE_SIZE		equ 2 << 20
DIRECTORIES		equ 4			; of 1 GiB each

CR0_WP			equ 1 << 16
CR0_PG			equ 1 << 31
CR4_PAE			equ 1 << 5
MSR_EFER		equ 0xC0000080
EFER_LME		equ 1 << 8

; Both GDTs have these. The accessed bits are set already, so that the processor never writes to a table.
GDT_CODE		equ 0x00AF9B000000FFFF	; ring 0, 64-bit
GDT_DATA		equ 0x00CF93000000FFFF	; ring 0, writable
SEL_CODE		equ 0x08
SEL_DATA		equ 0x10

section .note.PVH note align=4
	dd 4					; length of the name
	dd 8					; length of the descriptor
	dd XEN_ELFNOTE_PHYS32_ENTRY
	db "Xen", 0
	dq pvh_start

section .boot.text progbits alloc exec nowrite align=16
bits 32

; PVH entry.
; In:  32-bit protected mode, flat segments, paging and interrupts off; EBX = start information. All else undefined.
; Out: falls through to boot_start, ESI = path, EBX kept.
global pvh_start
pvh_start:
	mov esi, BOOT_PATH_PVH

; Where all entries meet. Page tables: 0-4 GiB at 0 and at DIRECT_MAP_BASE, 0-1 GiB at KERNEL_BASE.
; In:  as at an entry; ESI = path, EBX = start information.
; Out: the tables at pml4 are complete, DF clear, ESI and EBX kept. EAX, ECX, EDI lost.
global boot_start
boot_start:
	cld
	mov edi, tables				; not trusted to be clear: nobody clears .boot.bss
	mov ecx, (tables_end - tables) / 4
	xor eax, eax
	rep stosd

	mov edi, directories			; the upper halves of all entries stay 0: below 4 GiB
	mov eax, PTE_PRESENT | PTE_WRITE | PTE_LARGE
.large:	mov [edi], eax
	add eax, LARGE_PAGE_SIZE
	add edi, 8
	cmp edi, directories + DIRECTORIES * PAGE_SIZE
	jne .large

	mov dword [pdpt_low + 0 * 8], directories + 0 * PAGE_SIZE + PTE_TABLE
	mov dword [pdpt_low + 1 * 8], directories + 1 * PAGE_SIZE + PTE_TABLE
	mov dword [pdpt_low + 2 * 8], directories + 2 * PAGE_SIZE + PTE_TABLE
	mov dword [pdpt_low + 3 * 8], directories + 3 * PAGE_SIZE + PTE_TABLE
	mov dword [pdpt_high + 510 * 8], directories + PTE_TABLE
	mov dword [pml4 + 0 * 8], pdpt_low + PTE_TABLE
	mov dword [pml4 + 256 * 8], pdpt_low + PTE_TABLE
	mov dword [pml4 + 511 * 8], pdpt_high + PTE_TABLE

; Long mode.
; In:  the tables at pml4 are complete; ESI = path, EBX = start information.
; Out: far jump to low64, paging on, ESI and EBX kept, their upper halves undefined from there on. EAX, ECX, EDX lost.
	mov eax, CR4_PAE			; and nothing inherited: LA57 would give the tables another meaning
	mov cr4, eax
	mov eax, pml4
	mov cr3, eax
	mov ecx, MSR_EFER
	rdmsr
	or eax, EFER_LME
	wrmsr
	mov eax, cr0
	or eax, CR0_PG | CR0_WP
	mov cr0, eax
	lgdt [low_gdtr]
	jmp SEL_CODE:low64

bits 64

; To the high half.
; In:  long mode, CS = SEL_CODE, at a low address; ESI = path, EBX = start information. The other segments are the
;      loader's.
; Out: jumps to high64 at its high address, out of reach of a near jump. ESI and EBX kept, RAX lost.
low64:
	mov rax, high64
	jmp rax

section .boot.data progbits alloc noexec write align=8
low_gdt:
	dq 0
	dq GDT_CODE
	dq GDT_DATA
low_gdtr:					; as lgdt reads it in 32-bit code
	dw low_gdtr - low_gdt - 1
	dd low_gdt

section .boot.bss nobits alloc noexec write align=4096
tables:
pml4:		resb PAGE_SIZE
pdpt_low:	resb PAGE_SIZE
pdpt_high:	resb PAGE_SIZE
directories:	resb DIRECTORIES * PAGE_SIZE
tables_end:

section .text
extern kernel_main, __bss_start, __bss_end

; Own segments: from here on nothing needs the low map.
; In:  long mode, CS = SEL_CODE, at a high address; ESI = path, EBX = start information.
; Out: GDT in the high half, in which CS has the same place; DS, ES, SS = SEL_DATA; FS, GS = 0. ESI and EBX kept, EAX
;      lost.
high64:
	lgdt [rel high_gdtr]
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov ss, eax
	xor eax, eax
	mov fs, eax
	mov gs, eax

; Clear bss, whatever the loader left there, before there is a stack in it.
; In:  DF clear; ESI = path, EBX = start information. Both ends of bss are page-aligned.
; Out: bss is 0, ESI and EBX kept. RAX, RCX, RDI lost.
	mov rdi, __bss_start
	mov rcx, __bss_end
	sub rcx, rdi
	shr rcx, 3
	xor eax, eax
	rep stosq

; Boot stack, and C.
; In:  ESI = path, EBX = start information.
; Out: kernel_main(EDI = path, RSI = start information), RSP 16-byte aligned before the call; RBP = 0 ends back-traces.
	mov rsp, boot_stack_top
	xor ebp, ebp
	mov edi, esi				; both zero-extend
	mov esi, ebx
	call kernel_main
	ud2					; kernel_main does not return

section .rodata align=8
high_gdt:
	dq 0
	dq GDT_CODE
	dq GDT_DATA
high_gdtr:					; as lgdt reads it in 64-bit code
	dw high_gdtr - high_gdt - 1
	dq high_gdt

section .bss align=4096
global boot_stack_bottom, boot_stack_top
boot_stack_bottom:
	resb BOOT_STACK_SIZE
boot_stack_top:
