/**
 * A connection that lasts: `drip.js take PORT` checks what `drip.js give ADDRESS PORT` sends, a block
 * each 100 ms, whose bytes count up by words of four.
 */
import net from 'node:net';
import process from 'node:process';

const BLOCK = 64 * 1024;
const EVERY_MS = 100;

const [what, ...rest] = process.argv.slice(2);
if (what === 'take') take(Number(rest[0]));
else give(rest[0] as string, Number(rest[1]));

function give(address: string, port: number): void {
  const socket = net.connect(port, address);
  let word = 0;
  let free = true;
  socket.on('drain', () => {
    free = true;
  });
  setInterval(() => {
    if (!free) return;
    const block = Buffer.alloc(BLOCK);
    for (let at = 0; at < BLOCK; at += 4) block.writeUInt32BE((word++ & 0xffffffff) >>> 0, at);
    free = socket.write(block);
  }, EVERY_MS);
  socket.on('close', () => process.exit(1));
}

function take(port: number): void {
  const server = net.createServer((socket) => {
    console.log('connected');
    let kept = Buffer.alloc(0);
    let word = 0;
    let told = 0;
    socket.on('data', (part) => {
      const bytes = Buffer.concat([kept, part]);
      let at = 0;
      for (; at + 4 <= bytes.length; at += 4) {
        if (bytes.readUInt32BE(at) !== (word++ & 0xffffffff) >>> 0) {
          console.log(`word ${word - 1} is wrong`);
          process.exit(1);
        }
      }
      kept = bytes.subarray(at);
      const megabytes = Math.floor((word * 4) / 1_000_000);
      if (megabytes > told) {
        told = megabytes;
        console.log(`${megabytes} MB right`);
      }
    });
    socket.on('error', (error) => console.log(error.message));
    socket.on('close', () => process.exit(1));
  });
  server.listen(port, '0.0.0.0', () => console.log('listening'));
}
