/** Prints which of the offloads weft asks for this kernel has, by asking for each through the addon. */
const native = require('/weft/native/build/weft.node');

const vnetHeader = 1;
const udp = 17;
const features = { CSUM: 1, TSO: 1 | 2 | 4, USO: 1 | 2 | 4 | 0x20 | 0x40 };
const options = { UDP_SEGMENT: [103, 1400], UDP_GRO: [104, 1] };

const found = [];
const tun = native.tunOpen('probe0', vnetHeader);
for (const [name, bits] of Object.entries(features)) {
  found.push(`${name} ${native.tunOffload(tun, bits) === 0 ? 'yes' : 'no'}`);
}
native.close(tun);
const socket = native.udpOpen(4);
for (const [name, [option, value]] of Object.entries(options)) {
  found.push(`${name} ${native.setOption(socket, udp, option, value) === 0 ? 'yes' : 'no'}`);
}
native.close(socket);
console.log(`node ${process.version}, offloads here: ${found.join(', ')}`);
