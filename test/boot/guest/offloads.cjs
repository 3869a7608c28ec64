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

/** Super-packets that may be written to a TUN, as `weft up` asks for them. */
async function written() {
  const { probeSuperPackets } = await import('/weft/dist/src/dataplane/io/probe-writes.js');
  const fd = native.tunOpen('probe1', vnetHeader);
  const { tcp, udp: udpToo } = probeSuperPackets(native, fd);
  native.close(fd);
  return `written TCP ${tcp ? 'yes' : 'no'}, written UDP ${udpToo ? 'yes' : 'no'}`;
}

written().then((writes) =>
  console.log(`node ${process.version}, offloads here: ${found.join(', ')}, ${writes}`),
);
