/** All checks there are. */
import type { HostCheck, StatusCheck } from './check.js';
import { FirewallCheck } from './firewall/check.js';
import { judgeRoutes } from './routes.js';

/** Made anew for each daemon or doctor: a check may remember its last look. */
export function hostChecks(): HostCheck[] {
  return [new FirewallCheck()];
}

export const STATUS_CHECKS: readonly StatusCheck[] = [judgeRoutes];
