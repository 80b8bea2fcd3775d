; Where the processor comes to when there is a trap: 256 stubs, one for each vector, and the code they have in common.
; See spec/boot.md, "Descriptor tables"; the frame is struct trap_frame of include/desc.h.

bits 64
default rel

VEC_NMI           equ 2
VEC_DOUBLE_FAULT  equ 8
VEC_MACHINE_CHECK equ 18

MSR_GS_BASE  equ 0xC0000101

FRAME_VECTOR equ 120			; offsets in struct trap_frame
FRAME_CS     equ 144

extern trap_dispatch

global idt_stubs

section .text

; The stubs.
; In:  as the processor leaves it: IF, TF and NT clear, the other flags, AC and DF among them, as interrupted; on the
;      stack, 16-byte aligned before they were pushed: SS, RSP, RFLAGS, CS, RIP, and for some vectors an error code. All
;      other registers as interrupted.
; Out: to idt_common with error code (0 where the processor pushes none) and vector pushed too. No register changed.
idt_stub:
%assign v 0
%rep 256
.v%[v]:
%if !(v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30)
	push	0
%endif
	push	v
	jmp	idt_common
%assign v v + 1
%endrep

; From any stub to trap_dispatch and back to what was interrupted.
; In:  the frame from vector upwards on the stack, all registers as interrupted; flags as the stubs have them.
; Out: iretq to what the frame says then; all registers and the flags from the frame.
; To trap_dispatch: IF, TF, NT, DF and AC clear, GS base the kernel's, RDI = RSP = the frame.
; In between, kept by trap_dispatch as the C ABI has it: EBX = 1 if GS base has to be swapped back, else 0. RBP stays as
; interrupted, so that the chain of frames that trap_dispatch begins leads on to those of the interrupted code.
idt_common:
	push	rax
	push	rbx
	push	rcx
	push	rdx
	push	rbp
	push	rsi
	push	rdi
	push	r8
	push	r9
	push	r10
	push	r11
	push	r12
	push	r13
	push	r14
	push	r15

	; RFLAGS with nothing set: no DF, as the C ABI has it, and no AC, with which SMAP would let the kernel touch
	; users' memory. Not by clac, an invalid opcode where there is no SMAP. IF stays 0; no register changed, and RSP
	; is back where it was.
	push	0
	popfq

	; GS base becomes the kernel's. Clobbers RAX, RCX, RDX; sets EBX.
	xor	ebx, ebx
	mov	eax, [rsp + FRAME_VECTOR]
	cmp	eax, VEC_NMI
	je	.by_gs_base
	cmp	eax, VEC_DOUBLE_FAULT
	je	.by_gs_base
	cmp	eax, VEC_MACHINE_CHECK
	je	.by_gs_base
	test	byte [rsp + FRAME_CS], 3
	jz	.call			; from ring 0, where it is already
	jmp	.swap
.by_gs_base:				; these may come in ring 0 with GS base still, or again, ring 3's: in the lower half
	mov	ecx, MSR_GS_BASE
	rdmsr
	test	edx, edx
	js	.call
.swap:
	swapgs
	inc	ebx

	; RSP is 16-byte aligned: it was before the processor pushed, and the frame's 176 bytes are a multiple of 16.
.call:
	mov	rdi, rsp
	call	trap_dispatch

	test	ebx, ebx
	jz	.return
	swapgs
.return:
	pop	r15
	pop	r14
	pop	r13
	pop	r12
	pop	r11
	pop	r10
	pop	r9
	pop	r8
	pop	rdi
	pop	rsi
	pop	rbp
	pop	rdx
	pop	rcx
	pop	rbx
	pop	rax
	add	rsp, 16			; vector and error code
	iretq

section .rodata align=8

; The stubs' addresses by vector, for idt.c.
idt_stubs:
%assign v 0
%rep 256
	dq	idt_stub.v%[v]
%assign v v + 1
%endrep
