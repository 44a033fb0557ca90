/**
 * A client_msg_id or client_chat_id: a UUIDv7 (RFC 9562), which sorts by the time
 * it was made and cannot be guessed.
 */
export function newId(now: number = Date.now()): string {
  const u = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 0; i < 6; i++) u[i] = Math.floor(now / 2 ** (40 - 8 * i)) % 256;
  u[6] = (u[6]! & 0x0f) | 0x70;
  u[8] = (u[8]! & 0x3f) | 0x80;
  const hex = [...u].map((b) => b.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
