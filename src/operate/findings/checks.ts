/** All checks there are. */
import type { HostCheck, StatusCheck } from './check.js';
import { judgeConfig, judgeConfigChange } from './config.js';
import { judgeDevice } from './device.js';
import { FirewallCheck } from './firewall/check.js';
import { judgeLeaseTime } from './lease-time.js';
import { judgeLeases } from './leases.js';
import { Links } from './links.js';
import {
  judgeDescriptors,
  judgeMeasuring,
  judgeMerging,
  judgePathMtu,
  judgeSegmenting,
} from './paths.js';
import { judgePeers } from './peers.js';
import { Port } from './port.js';
import { judgeQueues } from './queues.js';
import { judgeRoutes } from './routes.js';
import { Routing } from './routing.js';
import { judgeCertificates, judgeStore } from './store.js';
import { Tables } from './tables.js';
import { judgeUnsound } from './unsound.js';

/** Made anew for each daemon or doctor: a check may remember its last look. */
export function hostChecks(): HostCheck[] {
  return [new Links(), new Routing(), new Tables(), new Port(), new FirewallCheck()];
}

export const STATUS_CHECKS: readonly StatusCheck[] = [
  judgeDevice,
  judgePeers,
  judgeRoutes,
  judgeQueues,
  judgePathMtu,
  judgeMeasuring,
  judgeDescriptors,
  judgeSegmenting,
  judgeMerging,
  judgeLeases,
  judgeUnsound,
  judgeConfig,
  judgeConfigChange,
  judgeStore,
  judgeLeaseTime,
  judgeCertificates,
];
