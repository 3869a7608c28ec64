/** Routes that the kernel did not take. */
import type { AnyStatus } from './check.js';
import type { Finding } from './finding.js';

export function judgeRoutes({ routes }: AnyStatus): Finding[] {
  return routes.problems.map((problem) => ({
    code: 'route-refused',
    severity: 'error',
    scope: 'peer',
    about: problem.slice(0, 60),
    text: `a route is not in the kernel's table: ${problem}`,
    cure: '',
  }));
}
