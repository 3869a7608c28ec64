/** Opens one more queue of a TUN and keeps it, reading nothing: tun-opener.js DEVICE */
import process from 'node:process';
import { loadNative, TUN_MULTI_QUEUE, TUN_VNET_HEADER } from '../../../src/dataplane/io/native.js';

const [device = ''] = process.argv.slice(2);
loadNative().tunOpen(device, TUN_MULTI_QUEUE | TUN_VNET_HEADER);
console.log(`opened by ${process.pid}`);
setInterval(() => {}, 60_000);
