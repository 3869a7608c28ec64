/** The words that a lane's thread and the main thread share about the lane's life. */

/** Set to 1 by the main thread: leave the loop at the next turn. */
export const STOP = 0;
/** One of the states below, 0 while it starts; written by the lane. */
export const STATE = 1;
/** 1 where super-packets leave by UDP_SEGMENT; written by the lane. */
export const SEGMENTS = 2;
/** Turns so far, wrapping: it stands still when the lane hangs. */
export const TURNS = 3;
/** 1 while merged packets are written to the TUN; written by the lane. */
export const MERGES = 4;
/** Rows of the batch in hand, 0 between two: what may be read of it when the lane stands still. */
export const OUTBOUND_ROWS = 5;
/** Behind it: the segment size that the outbound batch was read for, 0 in one piece each. */
export const OUTBOUND_SIZE = 6;
export const INBOUND_ROWS = 7;
/** 1 while the main thread wants packets shown (tap/); and 1 while the lane shows them. */
export const CAPTURE = 8;
export const CAPTURING = 9;
/** The kernel's number of the thread, by which its processor time is found; 0: not known. */
export const THREAD = 10;
export const CONTROL_WORDS = 11;

export const RUNNING = 1;
export const STOPPED = 2;
export const FAILED = 3;
/** Ended since somebody took the TUN away. */
export const TUN_GONE = 4;

/** No wait is longer than this, in milliseconds: the stop word is read at least so often. */
export const LONGEST_WAIT = 250;
