/** Looks into which way the coalescer takes a frame: the short one (`extend`), or the long one. */
import { Coalescer } from '../../../src/dataplane/forward/coalesce.js';

/** Runs `work` and gives how many frames went the short way meanwhile. */
export function countShort(work: () => void): number {
  const { extend } = Coalescer.prototype;
  let taken = 0;
  Coalescer.prototype.extend = function counting(at, end, tos) {
    const takes = extend.call(this, at, end, tos);
    if (takes) taken += 1;
    return takes;
  };
  try {
    work();
  } finally {
    Coalescer.prototype.extend = extend;
  }
  return taken;
}

/** Runs `work` with the long way alone. */
export function withoutShort(work: () => void): void {
  const { extend } = Coalescer.prototype;
  Coalescer.prototype.extend = () => false;
  try {
    work();
  } finally {
    Coalescer.prototype.extend = extend;
  }
}
