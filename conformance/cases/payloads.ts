/** `size` printable characters, no two neighbours alike. */
export function asciiOf(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let index = 0; index < size; index++) bytes[index] = 0x20 + ((index * 7) % 95);
  return bytes;
}

/** `size` bytes of all values, in a pattern that repeats with no power of two. */
export function bytesOf(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let index = 0; index < size; index++) bytes[index] = (index * 31 + (index >> 8)) & 0xff;
  return bytes;
}

/** The bytes that hex digits stand for; spaces are for the reader. */
export function hex(digits: string): Buffer {
  return Buffer.from(digits.replaceAll(" ", ""), "hex");
}
