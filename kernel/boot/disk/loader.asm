; The loader: from the boot sector to mb2_start, as a Multiboot2 loader that knows where its kernel is.
;
; KERNEL_SECTOR and KERNEL_BYTES are the Makefile's: where the kernel's file is on the disk, and how long.
;
; All is 16-bit code with CS = DS = SS = 0 but for the last few instructions. What is above 64 KiB is reached in two ways:
; by segments, in real mode; or by 32-bit addresses, in unreal mode, which holds from a call of `unreal` to the next call
; of the BIOS. Nothing that comes from the disk is trusted.

%include "layout.inc"

%assign KERNEL_SECTORS	(KERNEL_BYTES + SECTOR_SIZE - 1) / SECTOR_SIZE

A20_POLLS		equ 0xFFFF		; more than a keyboard controller needs to switch it
PORT_A			equ 0x92		; system control port A
PORT_A_RESET		equ 1 << 0
PORT_A_A20		equ 1 << 1
HIGH_SEGMENT		equ 0xFFFF		; its offset 16 is at 1 MiB

BIOS_EBDA		equ 0x40E		; the extended BIOS data area's segment
SMAP			equ 0x534D4150
E820_USABLE		equ 1

; An entry of the memory map, of E820 and of the information alike.
MAP_BASE		equ 0			; u64
MAP_LENGTH		equ 8			; u64
MAP_TYPE		equ 16			; u32, and four bytes more
MAP_ENTRY		equ 24
MAP_MAX			equ 128			; entries; the kernel takes 64 that are not empty and refuses more

RSDP_REVISION		equ 15
RSDP_OLD_SIZE		equ 20
RSDP_NEW_SIZE		equ 36

; Multiboot2. A tag of the information is u32 type, u32 size; one of the header u16 type, u16 flags, u32 size. The size
; is without the padding that brings the next one to a multiple of 8.
MB2_MAGIC		equ 0x36D76289		; in EAX for the kernel
TAG_SIZE		equ 4
TAG_DATA		equ 8
INFO_END		equ 0
INFO_CMDLINE		equ 1
INFO_MAP		equ 6
INFO_RSDP_OLD		equ 14
INFO_RSDP_NEW		equ 15
HEADER_MAGIC		equ 0xE85250D6
HEADER_ARCH		equ 4			; 0: 32-bit protected mode
HEADER_LENGTH		equ 8
HEADER_CHECKSUM		equ 12
HEADER_TAGS		equ 16
HEADER_END		equ 0
HEADER_ENTRY		equ 3
%if KERNEL_SECTORS * SECTOR_SIZE < 32768
HEADER_ROOM		equ KERNEL_SECTORS * SECTOR_SIZE
%else
HEADER_ROOM		equ 32768		; it ends within that much of the file
%endif

ELF_MAGIC		equ 0x464C457F
ELF_CLASS		equ 4			; and the byte order
ELF_64_LITTLE		equ 0x0102
ELF_TYPE		equ 16			; and the machine
ELF_EXEC_X86_64		equ 0x003E0002
ELF_PHOFF		equ 32
ELF_PHENTSIZE		equ 54
ELF_PHNUM		equ 56
PH_TYPE			equ 0
PH_OFFSET		equ 8
PH_PADDR		equ 24
PH_FILESZ		equ 32
PH_MEMSZ		equ 40
PH_SIZE			equ 56
PT_LOAD			equ 1

CR0_PE			equ 1 << 0
SEL_CODE		equ 0x08
SEL_DATA		equ 0x10

org LOADER
bits 16

; In:  as the boot sector leaves it: real mode, CS = DS = ES = SS = 0, SP = STACK_TOP, DF clear, interrupts on, DL = drive.
; Out: goes on in enter_kernel: the kernel is where it is linked to, [entry] = mb2_start, the information is complete;
;      interrupts off.
start:
	mov [drive], dl
	call a20_enable
	call info_make
	call unreal
	mov eax, BUFFER				; the information is behind it
	mov ecx, INFO - BUFFER
	add ecx, [dword INFO]			; the total size
	call need_memory
	mov eax, FILE
	mov ecx, KERNEL_SECTORS * SECTOR_SIZE
	call need_memory
	call file_read
	call elf_check
	call entry_find
	call segments_load

; In:  [entry]; interrupts off.
; Out: jumps to [entry] as Multiboot2 wants it: 32-bit protected mode, flat segments, paging and interrupts off, A20 on,
;      DF clear; EAX = the magic, EBX = INFO. No stack.
enter_kernel:
	lgdt [gdtr]
	mov eax, cr0
	or al, CR0_PE
	mov cr0, eax
	jmp dword SEL_CODE:.flat
bits 32
.flat:	mov eax, SEL_DATA
	mov ds, eax
	mov es, eax
	mov fs, eax
	mov gs, eax
	mov ss, eax
	mov eax, MB2_MAGIC
	mov ebx, INFO
	jmp [entry]
bits 16

; ---- memory ----

; Switches A20 on, by the BIOS or else by port A. Whether that was enough is for `unreal` to see.
; In:  real mode.
; Out: AX, CX, FS lost, and what the BIOS does not keep.
a20_enable:
	mov ax, 0x2401
	int 0x15
	cld
	call a20_check
	jnc .done
	in al, PORT_A
	or al, PORT_A_A20
	and al, ~PORT_A_RESET & 0xFF
	out PORT_A, al
.done:	ret

; Whether A20 is on. If it is not, our word and what seems to be 1 MiB above it are the same, whatever we put there; if it
; is, they are equal once at most, by chance.
; In:  real or unreal mode.
; Out: CF clear: on; CF set: off, for a while. AX, CX, FS lost.
a20_check:
	mov ax, HIGH_SEGMENT
	mov fs, ax
	mov cx, A20_POLLS
.again:	inc word [a20_word]
	mov ax, [fs:a20_word + 16]
	cmp ax, [a20_word]
	jne .on
	loop .again
	stc
	ret
.on:	clc
	ret

; Unreal mode: real mode in which DS and ES reach 4 GiB. A BIOS call may end it, so may an interrupt, by the BIOS's
; handler. Ends in die if A20 is off.
; In:  real mode.
; Out: unreal mode, DS = ES = 0, interrupts off. All registers kept but FS.
unreal:
	cli
	pushad
	call a20_check
	mov si, no_a20
	jc die
	lgdt [gdtr]
	mov eax, cr0
	or al, CR0_PE
	mov cr0, eax
	jmp short .protected			; for processors that have fetched ahead
.protected:
	mov bx, SEL_DATA			; brings the limits, which a selector loaded in real mode leaves as they are
	mov ds, bx
	mov es, bx
	and al, ~CR0_PE & 0xFF
	mov cr0, eax
	jmp short .real
.real:	xor bx, bx
	mov ds, bx
	mov es, bx
	popad
	ret

; Ends in die if there is no usable memory there.
; In:  unreal mode, the information at INFO; EAX = where, ECX = how much: their sum is below 4 GiB.
; Out: it lies within one entry of the map that is usable. All registers kept.
need_memory:
	pushad
	mov esi, INFO + map_entries - info_head
	mov edx, INFO + map_tag - info_head
	add edx, [edx + TAG_SIZE]		; the map's end
.next:	cmp esi, edx
	jae .none
	cmp dword [esi + MAP_TYPE], E820_USABLE
	jne .skip
	cmp dword [esi + MAP_BASE + 4], 0
	jne .skip
	mov ebx, eax
	sub ebx, [esi + MAP_BASE]		; what of the entry is before it
	jb .skip
	add ebx, ecx				; and with it; not above EAX + ECX, so this does not wrap
	cmp dword [esi + MAP_LENGTH + 4], 0
	jne .found
	cmp ebx, [esi + MAP_LENGTH]
	jbe .found
.skip:	add esi, MAP_ENTRY
	jmp .next
.found:	popad
	ret
.none:	mov si, no_memory
	jmp die

; ---- what the kernel is told ----

; Makes the Multiboot2 information at INFO: command line, memory map, RSDP if there is one, end.
; In:  real mode.
; Out: the information is complete. EAX, EBX, ECX, EDX, SI, DI, ES, FS lost, and what the BIOS does not keep.
info_make:
	mov ax, INFO >> 4
	mov es, ax
	mov si, info_head
	xor di, di				; ES:DI = where the next byte goes; the information is far below 64 KiB
	mov cx, map_entries - info_head
	rep movsb
	call map_make
	movzx eax, di
	sub ax, map_tag - info_head
	mov [es:map_tag - info_head + TAG_SIZE], eax
	call rsdp_find
	jc .end
	mov eax, INFO_RSDP_OLD
	mov cx, RSDP_OLD_SIZE
	cmp byte [fs:RSDP_REVISION], 2
	jb .rsdp
	mov al, INFO_RSDP_NEW
	mov cx, RSDP_NEW_SIZE
.rsdp:	stosd
	mov ax, cx
	add ax, TAG_DATA
	stosd
	xor si, si
	fs rep movsb
	xor eax, eax				; both sizes are four bytes short of a multiple of 8
	stosd
.end:	mov eax, INFO_END
	stosd
	mov al, TAG_DATA
	stosd
	movzx eax, di
	mov [es:0], eax				; the total size
	ret

; The memory map as E820 gives it.
; In:  real mode; ES:DI = where the entries go, with room for MAP_MAX.
; Out: DI = behind the last one. EAX, EBX, ECX, EDX lost, and what the BIOS does not keep; ES:DI it does.
map_make:
	xor ebx, ebx				; the BIOS's place in the list
.next:	xor eax, eax				; what the BIOS does not fill is 0, be it the last four bytes or more
	mov cx, MAP_ENTRY / 4
	rep stosd
	sub di, MAP_ENTRY
	mov eax, 0xE820
	mov edx, SMAP
	mov ecx, MAP_ENTRY
	int 0x15
	cld
	jc .done				; behind the last one
	cmp eax, SMAP
	jne .done
	add di, MAP_ENTRY
	test ebx, ebx				; the last one
	jz .done
	cmp di, map_entries - info_head + MAP_MAX * MAP_ENTRY
	jb .next
.done:	ret

; Looks for the RSDP where a BIOS may have it: in the first KiB of the extended data area, then in the ROMs.
; In:  real mode.
; Out: CF clear: it is at FS:0; CF set: there is none. AX, BL, CX, SI, FS lost.
rsdp_find:
	mov ax, [BIOS_EBDA]
	mov cx, 1024 / 16
	call rsdp_search
	jnc rsdp_search.done
	mov ax, 0xE0000 >> 4
	mov cx, 0x20000 / 16

; In:  real mode; AX = the segment to begin with, CX = how many segments, 16 bytes apart.
; Out: as rsdp_find.
rsdp_search:
	mov fs, ax
	cmp dword [fs:0], 'RSD '
	jne .no
	cmp dword [fs:4], 'PTR '
	jne .no
	xor bl, bl
	xor si, si
.sum:	add bl, [fs:si]
	inc si
	cmp si, RSDP_OLD_SIZE
	jb .sum
	test bl, bl				; clears CF
	jz .done
.no:	inc ax
	loop rsdp_search
	stc
.done:	ret

; ---- the kernel ----

; Reads the kernel's file to FILE, in whole sectors. Ends in die if the disk does not give it.
; In:  [drive].
; Out: unreal mode, DS = ES = 0, interrupts off. EAX, BX, ECX, DL, EBP, ESI, EDI, FS lost.
file_read:
	mov dl, [drive]
	mov bx, BUFFER >> 4
	mov eax, KERNEL_SECTOR			; the next one
	mov ebp, KERNEL_SECTORS			; how many are left
	mov edi, FILE				; where they go
.piece:	mov ecx, BUFFER_SECTORS
	cmp ecx, ebp
	jbe .read
	mov ecx, ebp
.read:	call disk_read
	call unreal
	add eax, ecx
	sub ebp, ecx
	imul ecx, ecx, SECTOR_SIZE / 4
	mov esi, BUFFER
	a32 rep movsd
	test ebp, ebp
	jnz .piece
	ret

; Whether the file is an ELF64 for this machine and has its program headers. Ends in die if not.
; In:  unreal mode, the file at FILE. What is behind a very short one, in its last sector, is 0.
; Out: EBX = the first program header, EBP = the end of them. EAX, ECX, EDX lost.
elf_check:
	mov ebx, FILE
	cmp dword [ebx], ELF_MAGIC
	jne not_loadable
	cmp word [ebx + ELF_CLASS], ELF_64_LITTLE
	jne not_loadable
	cmp dword [ebx + ELF_TYPE], ELF_EXEC_X86_64
	jne not_loadable
	cmp dword [ebx + ELF_PHOFF + 4], 0
	jne not_loadable
	movzx eax, word [ebx + ELF_PHENTSIZE]
	cmp eax, PH_SIZE
	jb not_loadable
	movzx ecx, word [ebx + ELF_PHNUM]
	mul ecx					; of two 16-bit numbers: EDX is 0
	add eax, [ebx + ELF_PHOFF]
	jc not_loadable
	cmp eax, KERNEL_BYTES
	ja not_loadable
	lea ebp, [eax + FILE]
	add ebx, [ebx + ELF_PHOFF]
	ret

; Looks for the Multiboot2 header in the file, and for the entry's address in it. Ends in die if there is none.
; In:  unreal mode, the file at FILE.
; Out: [entry]. EAX, ECX, EDX, ESI lost.
entry_find:
	mov esi, FILE
.search:
	cmp dword [esi], HEADER_MAGIC
	jne .no
	cmp dword [esi + HEADER_ARCH], 0
	jne .no
	mov eax, HEADER_MAGIC
	add eax, [esi + HEADER_LENGTH]
	add eax, [esi + HEADER_CHECKSUM]
	jz .header
.no:	add esi, 8
	cmp esi, FILE + HEADER_ROOM - HEADER_TAGS
	jbe .search
	jmp no_entry
.header:
	mov edx, [esi + HEADER_LENGTH]
	mov ecx, FILE + HEADER_ROOM
	sub ecx, esi
	cmp edx, ecx
	ja no_entry
	add edx, esi				; the header's end
	add esi, HEADER_TAGS
.tag:	mov ecx, edx
	sub ecx, esi				; what is left of it
	jb no_entry
	cmp ecx, TAG_DATA
	jb no_entry
	mov eax, [esi + TAG_SIZE]
	cmp eax, TAG_DATA
	jb no_entry
	cmp eax, ecx
	ja no_entry
	cmp word [esi], HEADER_ENTRY
	je .entry
	cmp word [esi], HEADER_END
	je no_entry
	add eax, 7				; to the next multiple of 8
	and eax, ~7
	add esi, eax
	jmp .tag
.entry:	cmp eax, TAG_DATA + 4
	jb no_entry
	mov eax, [esi + TAG_DATA]
	mov [entry], eax
	ret

; Brings the file's segments to their places. Ends in die if they cannot be loaded: what comes from the file must be in it,
; what they take must be usable memory from KERNEL_MIN to FILE, and the entry must be in what comes from the file.
; In:  unreal mode, the file at FILE; EBX = the first program header, EBP = the end of them; [entry].
; Out: the kernel is in its place. EAX, EBX, ECX, EDX, ESI, EDI lost.
segments_load:
.next:	cmp ebx, ebp
	jae .done
	cmp dword [ebx + PH_TYPE], PT_LOAD
	jne .skip

	mov edx, [ebx + PH_MEMSZ]
	mov eax, edx
	or eax, [ebx + PH_MEMSZ + 4]
	jz .skip				; empty: the rest means nothing
	mov eax, [ebx + PH_MEMSZ + 4]
	or eax, [ebx + PH_FILESZ + 4]
	or eax, [ebx + PH_PADDR + 4]
	jnz not_loadable

	mov ecx, [ebx + PH_FILESZ]
	cmp ecx, edx
	ja not_loadable
	mov esi, FILE
	jecxz .room				; nothing of the file: the offset means nothing
	cmp dword [ebx + PH_OFFSET + 4], 0
	jne not_loadable
	mov eax, [ebx + PH_OFFSET]
	add esi, eax
	add eax, ecx
	jc not_loadable
	cmp eax, KERNEL_BYTES
	ja not_loadable

.room:	mov edi, [ebx + PH_PADDR]
	cmp edi, KERNEL_MIN
	jb not_loadable
	mov eax, edi
	add eax, edx
	jc too_big
	cmp eax, FILE
	ja too_big
	push ecx
	mov eax, edi
	mov ecx, edx
	call need_memory
	pop ecx

	mov eax, [entry]
	sub eax, edi
	cmp eax, ecx
	jae .copy
	mov byte [entry_is_loaded], 1
.copy:	sub edx, ecx
	a32 rep movsb
	mov ecx, edx
	xor al, al
	a32 rep stosb
.skip:	movzx eax, word [dword FILE + ELF_PHENTSIZE]
	add ebx, eax
	jmp .next
.done:	cmp byte [entry_is_loaded], 0
	je no_entry
	ret

; Ends that are jumped to from several places.
; In:  real or unreal mode.
; Out: go on in die.
no_entry:
	mov si, no_entry_line
	jmp die
not_loadable:
	mov si, not_loadable_line
	jmp die
too_big:
	mov si, too_big_line
	jmp die

%include "disk.inc"

no_a20:			db 'disk: A20 cannot be switched on', EOL
no_memory:		db 'disk: no usable memory where it is needed', EOL
no_entry_line:		db 'disk: no Multiboot2 entry in the kernel', EOL
not_loadable_line:	db 'disk: the kernel is not an ELF64 file that can be loaded', EOL
too_big_line:		db 'disk: the kernel reaches beyond 16 MiB', EOL

; Flat segments for protected mode, 32-bit, ring 0. The accessed bits are set already.
	align 8, db 0
gdt:	dq 0
	dq 0x00CF9B000000FFFF			; code
	dq 0x00CF93000000FFFF			; data, writable
gdtr:	dw $ - gdt - 1
	dd gdt

; The information's beginning, copied to INFO. The entries follow.
	align 8, db 0
info_head:
	dd 0, 0					; the total size, not known yet; reserved
cmdline_tag:
	dd INFO_CMDLINE
	dd cmdline_end - cmdline_tag
	db 'console=com1 auton', 0
cmdline_end:
	align 8, db 0
map_tag:
	dd INFO_MAP
	dd 0					; its size, not known yet
	dd MAP_ENTRY, 0				; entry size, version
map_entries:

entry:			dd 0			; the kernel's, physical
a20_word:		dw 0
drive:			db 0
entry_is_loaded:	db 0
