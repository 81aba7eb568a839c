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

/** Numbers from 0 to 255 that look random and are the same in every run. */
function* noise(seed: number): Generator<number> {
  for (let state = seed >>> 0 || 1; ; ) {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield (state >>> 16) & 0xff;
  }
}

/** `size` bytes that no compressor makes smaller. */
export function noiseOf(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  const source = noise(seed);
  for (let index = 0; index < size; index++) bytes[index] = source.next().value;
  return bytes;
}

/** `size` bytes of base64: text that gets a quarter smaller at most. */
export function base64Of(size: number, seed = 1): Buffer {
  const bytes = noiseOf(Math.ceil((size * 3) / 4) + 3, seed);
  return Buffer.from(bytes.toString("base64")).subarray(0, size);
}

/** `size` bytes of JSON lines as a chat sends them: they get about six times smaller. */
export function jsonOf(size: number, seed = 1): Buffer {
  const source = noise(seed);
  let text = "";
  for (let index = 0; text.length < size; index++) {
    const id = source.next().value * 256 + source.next().value;
    text += `{"id":${id},"from":"user${id % 97}","room":"room${id % 7}","at":${1_700_000_000 + index},"text":"message number ${index}, read by ${source.next().value}"}\n`;
  }
  return Buffer.from(text.slice(0, size));
}

/** `size` bytes of one word: they get up to hundreds of times smaller. */
export function repeatedOf(size: number): Buffer {
  return Buffer.alloc(size, "halyard ");
}

/** `size` bytes of UTF-8 with characters of one to four bytes. */
export function multilingualOf(size: number): Buffer {
  const line = Buffer.from("Füße, λόγος, 漢字, 😀 and plain text. ");
  const bytes = Buffer.alloc(size, ".");
  for (let at = 0; at + line.length <= size; at += line.length) line.copy(bytes, at);
  return bytes;
}
