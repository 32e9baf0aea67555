/** How many files a process of this user may open: every connection is one. */
import { readFileSync } from 'node:fs';

/** The hard limit: Node raises the soft one to it by itself, and its children inherit that. */
export const openFilesMax = (): number => {
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return hard === 'unlimited' ? Infinity : Number(hard);
};

/** Listening sockets, Valkey, logs, what Node opens for itself. */
export const OTHER_FILES = 300;
