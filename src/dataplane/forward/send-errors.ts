/** What the errno of a send says of it. */
import {
  EACCES,
  EAGAIN,
  ECONNREFUSED,
  EHOSTDOWN,
  EHOSTUNREACH,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENETDOWN,
  ENETUNREACH,
  ENOBUFS,
  EPERM,
} from '../io/native.js';
import { Drop } from './drops.js';

/** The reason of a drop for the errno of the send that failed. */
export function reasonOf(errno: number): number {
  switch (errno) {
    case EAGAIN:
    case ENOBUFS:
      return Drop.send_peer_full;
    case EPERM:
    case EACCES:
      return Drop.send_denied;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
      return Drop.send_peer_unreachable;
    case EMSGSIZE:
      return Drop.send_too_long;
    default:
      return Drop.send_failed;
  }
}

/** Errnos that no ICMP message becomes (net/ipv4/icmp.c icmp_err_convert): the send's own. */
export function mayBeTold(errno: number): boolean {
  switch (errno) {
    case EAGAIN:
    case ENOBUFS:
    case EPERM:
    case EACCES:
    case EINVAL:
    case EIO:
      return false;
    default:
      return true;
  }
}

/**
 * Errnos of a UDP_SEGMENT send whose datagrams may be sent one by one: EIO where the route's
 * device cannot do the checksums (kernels before 6.11), EINVAL (before 5.19 or so) and EMSGSIZE
 * where they do not fit it. A route that throws packets away answers EINVAL, too.
 */
export function mayBeOfSegments(errno: number): boolean {
  return errno === EIO || errno === EINVAL || errno === EMSGSIZE;
}
