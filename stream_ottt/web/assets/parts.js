// Decodes a message of the server; stream_ottt/web/message.py describes the form.

const TYPES = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array };
const text = new TextDecoder();

export function decodeParts(buffer) {
  const view = new DataView(buffer);
  const parts = [];
  let at = 0;
  while (at < buffer.byteLength) {
    const head = view.getUint32(at, true);
    const body = view.getUint32(at + 4, true);
    at += 8;
    const part = JSON.parse(text.decode(new Uint8Array(buffer, at, head)));
    at += head;
    let place = at;
    const arrays = {};
    for (const [name, type, shape] of part.arrays) {
      const length = shape.reduce((a, b) => a * b, 1);
      arrays[name] = new TYPES[type](buffer, place, length);
      arrays[name].shape = shape;
      place += Math.ceil(arrays[name].byteLength / 4) * 4;
    }
    parts.push({ ...part, arrays });
    at += body;
  }
  return parts;
}
