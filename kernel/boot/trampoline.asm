; The way of every processor but the boot processor, from real mode to ap_main in boot/smp.c. See spec/boot.md,
; "Processors", Start-up.
;
; This is data of the image: smp.c copies it to a page below 1 MiB, and only the copy is run. Nothing here knows where
; that is: a processor begins at the page's first byte with IP = 0, so its base is CS * 16, and all else is found from
; there. EBX holds that base and ESI the processor's APIC ID from the first stage to the last; no stage between touches
; them. There is no stack before the last stage, and no IDT in any: interrupts stay off.

; Offsets in struct handover of smp.c, which asserts them.
HANDOVER_TICKET	equ 0
HANDOVER_CR0	equ 8
HANDOVER_CR3	equ 16
HANDOVER_CR4	equ 24
HANDOVER_EFER	equ 32
HANDOVER_STACK	equ 40
HANDOVER_CPU	equ 48
HANDOVER_MAIN	equ 56
HANDOVER_SIZE	equ 64

; Of a ticket, as in smp.c: whoever finds its own APIC ID adds TICKET_TAKEN. Nobody has the ID TICKET_NOBODY.
TICKET_TAKEN	equ 0x100
TICKET_NOBODY	equ 0x400

PAGE_SIZE	equ 4096
CPUID_FEATURES	equ 1			; EBX 31:24: the initial APIC ID
CR0_PE		equ 1 << 0
MSR_EFER	equ 0xC0000080

; The page's own GDT. The accessed bits are set already, so that the processor never writes to it.
GDT_CODE_32	equ 0x00CF9B000000FFFF	; ring 0, flat
GDT_DATA	equ 0x00CF93000000FFFF	; ring 0, flat, writable
GDT_CODE_64	equ 0x00AF9B000000FFFF	; ring 0, 64-bit
SEL_CODE_32	equ 0x08
SEL_DATA	equ 0x10
SEL_CODE_64	equ 0x18

; Where something is in the page.
%define OFFSET(label) ((label) - smp_trampoline)

section .rodata align=16
global smp_trampoline, smp_trampoline_handover, smp_trampoline_end

smp_trampoline:
bits 16

; Is it this processor that is called? One that comes too late must not go on with what is another's by now, so who
; takes the ticket does so in one step; from there on the rest of the handover is its own.
; In:  real mode, interrupts off, CS * 16 = the page. All else undefined.
; Out: DS = CS, EBX = the page's base, ESI = APIC ID, the ticket taken; or halted for good. EAX, ECX, EDX lost.
	cli
	cld
	mov ax, cs
	mov ds, ax
	mov eax, CPUID_FEATURES
	cpuid
	shr ebx, 24
	mov esi, ebx
	mov eax, esi
	mov edx, esi
	or edx, TICKET_TAKEN
	lock cmpxchg [OFFSET(smp_trampoline_handover) + HANDOVER_TICKET], edx
	je .called
.halt:	hlt					; an NMI would come back to it
	jmp .halt
.called:
	xor ebx, ebx
	mov bx, cs
	shl ebx, 4

; To protected mode.
; In:  real mode, DS = CS, EBX = the page's base, ESI = APIC ID.
; Out: far jump to protected, 32-bit, paging off. EBX, ESI kept. EAX lost.
	lea eax, [ebx + OFFSET(gdt)]		; what is absolute is written into the page, the same by everybody
	mov [OFFSET(gdtr.base)], eax
	lea eax, [ebx + OFFSET(protected)]
	mov [OFFSET(to_protected)], eax
	lea eax, [ebx + OFFSET(long_mode)]
	mov [OFFSET(to_long_mode)], eax
	o32 lgdt [OFFSET(gdtr)]
	mov eax, cr0
	or eax, CR0_PE
	mov cr0, eax
	jmp dword far [OFFSET(to_protected)]

bits 32

; To long mode, with the boot processor's control registers.
; In:  protected mode, CS = SEL_CODE_32, the other segments real mode's; EBX = the page's base, ESI = APIC ID. The page
;      is mapped where it is, as are the GDT and the handover in it.
; Out: far jump to long_mode, paging on; DS, ES, SS = SEL_DATA, FS, GS = 0. EBX, ESI kept, their upper halves undefined
;      from there on. EAX, ECX, EDX lost.
protected:
	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov ss, eax
	xor eax, eax
	mov fs, eax
	mov gs, eax
	mov eax, [ebx + OFFSET(smp_trampoline_handover) + HANDOVER_CR4]
	mov cr4, eax
	mov eax, [ebx + OFFSET(smp_trampoline_handover) + HANDOVER_CR3]
	mov cr3, eax
	mov ecx, MSR_EFER
	mov eax, [ebx + OFFSET(smp_trampoline_handover) + HANDOVER_EFER]
	mov edx, [ebx + OFFSET(smp_trampoline_handover) + HANDOVER_EFER + 4]
	wrmsr
	mov eax, [ebx + OFFSET(smp_trampoline_handover) + HANDOVER_CR0]
	mov cr0, eax
	jmp dword far [ebx + OFFSET(to_long_mode)]

bits 64

; Its stack, and C in the high half.
; In:  long mode, CS = SEL_CODE_64, in the page; EBX = the page's base, ESI = APIC ID.
; Out: ap_main(RDI = its struct cpu, ESI = APIC ID), RSP 16-byte aligned before the call; RBP = 0 ends back-traces.
long_mode:
	mov ebx, ebx				; zero-extends
	mov rsp, [rbx + OFFSET(smp_trampoline_handover) + HANDOVER_STACK]
	xor ebp, ebp
	mov rdi, [rbx + OFFSET(smp_trampoline_handover) + HANDOVER_CPU]
	call [rbx + OFFSET(smp_trampoline_handover) + HANDOVER_MAIN]
	ud2					; ap_main does not return

	align 8, db 0
gdt:
	dq 0
	dq GDT_CODE_32
	dq GDT_DATA
	dq GDT_CODE_64
gdtr:						; as lgdt reads it in 16-bit code with a 32-bit operand
	dw gdtr - gdt - 1
.base:	dd 0					; written by the first to come here
to_protected:					; far pointers, their offsets likewise
	dd 0
	dw SEL_CODE_32
to_long_mode:
	dd 0
	dw SEL_CODE_64

	align 8, db 0
smp_trampoline_handover:			; struct handover; smp.c fills it in the page
	dd TICKET_NOBODY
	times HANDOVER_SIZE - 4 db 0
smp_trampoline_end:

	times (OFFSET(smp_trampoline_end) <= PAGE_SIZE) - 1 db 0	; refused unless it fits
