; Stands in for boot/ while that has no sources: PVH entry to C, and nothing else.

KERNEL_BASE     equ 0xFFFFFFFF80000000

PTE_PRESENT     equ 1 << 0
PTE_WRITE       equ 1 << 1
PTE_LARGE       equ 1 << 7

section .note.PVH note align=4
        dd 4                            ; size of the name
        dd 8                            ; size of the descriptor
        dd 18                           ; XEN_ELFNOTE_PHYS32_ENTRY
        db "Xen", 0
        dq pvh_start

section .boot.text progbits alloc exec nowrite align=16
bits 32
; In: 32-bit protected mode, paging off, interrupts off, EBX = hvm_start_info (not used here).
; Out: jumps to `low64` in long mode, first 1 GiB mapped at 0 and at KERNEL_BASE.
global pvh_start
pvh_start:
        cld
        mov edi, pd                     ; 512 entries of 2 MiB
        mov eax, PTE_PRESENT | PTE_WRITE | PTE_LARGE
.fill:  mov [edi], eax
        mov dword [edi + 4], 0
        add eax, 0x200000
        add edi, 8
        cmp edi, pd + 4096
        jne .fill
        mov dword [pdpt_low], pd + (PTE_PRESENT | PTE_WRITE)
        mov dword [pdpt_high + 510 * 8], pd + (PTE_PRESENT | PTE_WRITE)
        mov dword [pml4], pdpt_low + (PTE_PRESENT | PTE_WRITE)
        mov dword [pml4 + 511 * 8], pdpt_high + (PTE_PRESENT | PTE_WRITE)

        mov eax, cr4
        or eax, 1 << 5                  ; PAE
        mov cr4, eax
        mov eax, pml4
        mov cr3, eax
        mov ecx, 0xC0000080             ; EFER
        rdmsr
        or eax, 1 << 8                  ; LME
        wrmsr
        mov eax, cr0
        or eax, 1 << 31 | 1 << 16       ; PG, WP
        mov cr0, eax
        lgdt [gdtr]
        jmp 0x08:low64

bits 64
; In: long mode at a low address. Out: jumps to `high` at its high address.
low64:
        mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov ss, eax
        xor eax, eax
        mov fs, eax
        mov gs, eax
        mov rax, high
        jmp rax

section .boot.data progbits alloc noexec write align=16
gdt:    dq 0
        dq 0x00AF9B000000FFFF           ; 0x08 code: present, DPL 0, L
        dq 0x00CF93000000FFFF           ; 0x10 data
gdtr:   dw gdtr - gdt - 1
        dq gdt

section .boot.bss nobits alloc noexec write align=4096
pml4:      resb 4096
pdpt_low:  resb 4096
pdpt_high: resb 4096
pd:        resb 4096

section .text
extern stub_main, __bss_start, __bss_end
; In: long mode, high address, no stack. Out: calls stub_main, which does not return.
high:
        mov rdi, __bss_start
        mov rcx, __bss_end
        sub rcx, rdi
        xor eax, eax
        rep stosb
        mov rsp, stack_top
        xor ebp, ebp
        call stub_main
        ud2

section .bss
        alignb 16
        resb 32768
stack_top:
