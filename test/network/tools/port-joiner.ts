/** Joins the sockets on a UDP port, reading nothing: port-joiner.js ADDRESS PORT */
import process from 'node:process';
import { TIERS } from '../../../src/dataplane/io/tiers.js';
import { openUdp } from '../../../src/dataplane/io/udp.js';
import { parseAddress } from '../../../src/dataplane/wire/ipv4.js';

const [address = '', port = ''] = process.argv.slice(2);
openUdp(parseAddress(address)!, Number(port), TIERS.segment, { lane: 2, lanes: 3 });
console.log(`joined by ${process.pid}`);
setInterval(() => {}, 60_000);
