/* QEMU's firmware configuration device, read byte by byte through its ports. */
#include "internal.h"

enum { SELECT = 0x510, DATA = 0x511, NAME_SIZE = 56 };

static uint64_t big_endian(unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | harness_inb(DATA);
	return value;
}

bool fw_cfg_present(void)
{
	harness_outw(SELECT, FW_CFG_SIGNATURE);
	return big_endian(4) == 0x51454d55;     /* "QEMU" */
}

void fw_cfg_bytes(uint16_t key, char *buffer, size_t size)
{
	harness_outw(SELECT, key);
	for (size_t i = 0; i < size; i++)
		buffer[i] = (char)harness_inb(DATA);
}

uint64_t fw_cfg_number(uint16_t key, unsigned bytes)
{
	uint64_t value = 0;

	harness_outw(SELECT, key);
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)harness_inb(DATA) << 8 * i;
	return value;
}

/* A directory entry: big-endian u32 size, u16 key, u16 reserved, then the name, padded with NUL. */
static bool find(const char *name, uint16_t *key, uint32_t *size)
{
	harness_outw(SELECT, FW_CFG_FILE_DIR);
	for (uint64_t left = big_endian(4); left; left--) {
		uint32_t entry_size = (uint32_t)big_endian(4);
		uint16_t entry_key = (uint16_t)big_endian(2);
		char entry_name[NAME_SIZE];

		big_endian(2);
		for (int i = 0; i < NAME_SIZE; i++)
			entry_name[i] = (char)harness_inb(DATA);
		entry_name[NAME_SIZE - 1] = 0;
		if (harness_strcmp(entry_name, name) == 0) {
			*key = entry_key;
			*size = entry_size;
			return true;
		}
	}
	return false;
}

int fw_cfg_string(const char *name, char *buffer, size_t size)
{
	uint16_t key;
	uint32_t length;

	if (!find(name, &key, &length))
		return FW_CFG_ABSENT;
	if (length >= size)
		return FW_CFG_TOO_LONG;
	fw_cfg_bytes(key, buffer, length);
	while (length && (uint8_t)buffer[length - 1] <= ' ')
		length--;
	buffer[length] = 0;
	return (int)length;
}
