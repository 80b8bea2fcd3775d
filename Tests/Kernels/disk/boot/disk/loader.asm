; From the boot sector to the kernel's Multiboot2 entry: memory map, the ELF file into memory, its segments to their places.
;
;   0x07C00  stack below, boot sector, this loader
;   0x20000  Multiboot2 information
;   0x30000  a piece of the file, as the BIOS reads it
;   16 MiB   the file
bits 16
org 0x7E00

INFORMATION	equ 0x20000
PIECE		equ 0x30000
PIECE_SECTORS	equ 64
FILE		equ 16 << 20
HEADER_MAX	equ 32768			; where a Multiboot2 header may be

; In:  real mode, CS = DS = ES = SS = 0, DF clear, DL = drive.
	mov [drive], dl
	in al, 0x92				; A20
	or al, 2
	and al, 0xFE				; bit 0 would reset the machine
	out 0x92, al

; Information: head, command line, and E820 as the memory map.
	mov ax, INFORMATION >> 4
	mov es, ax
	mov si, information
	xor di, di
	mov cx, information_end - information
	rep movsb
	xor ebx, ebx
.region:
	mov eax, 0xE820
	mov edx, 0x534D4150			; "SMAP"
	mov ecx, 24
	int 0x15
	jc .regions
	cmp eax, 0x534D4150
	jne .regions
	mov dword [es:di + 20], 0		; reserved in Multiboot2
	add di, 24
	test ebx, ebx
	jnz .region
.regions:
	mov ax, di
	sub ax, memory - information
	mov [es:memory - information + 4], ax
	mov dword [es:di], 0			; the end tag
	mov dword [es:di + 4], 8
	add di, 8
	mov [es:0], di

; The file, piece by piece. The last piece may bring up what lies behind it on the disk.
.piece:
	mov ax, [left]
	cmp ax, PIECE_SECTORS
	jbe .last
	mov ax, PIECE_SECTORS
.last:	mov [packet.count], ax
	mov dl, [drive]
	call read
	mov esi, PIECE
	mov edi, [target]
	mov ecx, PIECE_SECTORS * 512 / 4
	call copy_up
	add dword [target], PIECE_SECTORS * 512
	add dword [packet.sector], PIECE_SECTORS
	sub word [left], PIECE_SECTORS
	ja .piece

	cli
	lgdt [gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp 0x08:protected

; Copies ECX double words from ESI to EDI, anywhere: segments keep the limits that they were given in protected mode,
; until the BIOS loads others.
; In:  real mode, CS = SS = 0. Out: DS = ES = 0; EAX, BX, ECX, ESI, EDI lost.
copy_up:
	cli
	lgdt [gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp .protected
.protected:
	mov bx, 0x10
	mov ds, bx
	mov es, bx
	and al, 0xFE
	mov cr0, eax
	jmp .real
.real:	xor bx, bx
	mov ds, bx
	mov es, bx
	a32 rep movsd
	sti
	ret

%include "bios.inc"

; In:  32-bit protected mode, interrupts off, the file at FILE. Out: the kernel, as Multiboot2 has it.
bits 32
protected:
	mov eax, 0x10
	mov ds, eax
	mov es, eax
	mov ss, eax
	mov fs, eax
	mov gs, eax
	mov esp, 0x7C00

	movzx edx, word [FILE + 0x38]		; program headers
	mov ebp, [FILE + 0x20]
	add ebp, FILE
.segment:
	cmp dword [ebp], 1			; PT_LOAD
	jne .next
	mov esi, [ebp + 8]			; offset
	add esi, FILE
	mov edi, [ebp + 24]			; physical address
	mov ecx, [ebp + 32]			; bytes in the file
	mov ebx, [ebp + 40]			; bytes in memory
	sub ebx, ecx
	rep movsb
	mov ecx, ebx
	xor eax, eax
	rep stosb
.next:	add ebp, 56
	dec edx
	jnz .segment

	mov esi, FILE
.header:
	cmp dword [esi], 0xE85250D6
	je .tags
	add esi, 8
	cmp esi, FILE + HEADER_MAX
	jb .header
.stop:	hlt
	jmp .stop
.tags:	add esi, 16
.tag:	cmp word [esi], 3			; entry address
	je .entry
	cmp word [esi], 0			; none to enter by
	je .stop
	mov ecx, [esi + 4]
	lea esi, [esi + ecx + 7]
	and esi, ~7
	jmp .tag
.entry:	mov ecx, [esi + 8]
	mov eax, 0x36D76289
	mov ebx, INFORMATION
	jmp ecx

	align 8, db 0
gdt:	dq 0
	dq 0x00CF9B000000FFFF			; 0x08 code, 32-bit, 4 GiB
	dq 0x00CF93000000FFFF			; 0x10 data
gdtr:	dw gdtr - gdt - 1
	dd gdt

	align 8, db 0
information:
	dd 0, 0					; size
command_line:
	dd 1, command_line_end - command_line
	db "console=com1 auton", 0
command_line_end:
	align 8, db 0
memory:	dd 6, 0, 24, 0				; type, size, entry's size and version
information_end:

packet:	db 16, 0
.count:	dw 0
	dw 0, PIECE >> 4			; offset, segment
.sector: dq KERNEL_SECTOR
left:	dw (KERNEL_BYTES + 511) / 512
target:	dd FILE
drive:	db 0
