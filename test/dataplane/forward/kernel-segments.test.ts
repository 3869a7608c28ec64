/** Runs kernel-segments-in-namespace.ts, which needs root and a network namespace. */
import { testInNamespace } from '../io/root.js';

testInNamespace(
  'weft and the kernel cut alike, byte for byte',
  new URL('./kernel-segments-in-namespace.js', import.meta.url),
  4,
);
