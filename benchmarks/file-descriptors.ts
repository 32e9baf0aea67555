/**
 * Every connection is a file descriptor of the generator and one of the service. Where there are too few, a scenario
 * would fail in the middle, and with a message about something else; so it is said at the start.
 */
import { UsageError } from './options.js';
import type { Scenario } from './scenarios/scenario.js';
import { openFilesMax, OTHER_FILES } from './servers/open-files.js';
import type { Sizes } from './sizes.js';

/** Throws where a process may not open as many as the largest of the scenarios needs. */
export const checkFileDescriptors = (scenarios: readonly Scenario[], sizes: Sizes): void => {
  const max = openFilesMax();
  const tooLarge = scenarios.filter(({ connections }) => connections(sizes) + OTHER_FILES > max);
  if (tooLarge.length === 0) return;
  const needed = Math.max(...tooLarge.map(({ connections }) => connections(sizes) + OTHER_FILES));
  throw new UsageError(
    `${tooLarge.map(({ name }) => name).join(', ')}: up to ${needed} file descriptors are needed in one process, ` +
      `and ${max} are allowed. Try \`ulimit -n ${needed}\` (as root, or with a higher limit in ` +
      `/etc/security/limits.conf), fewer connections (--size NAME=N), or other scenarios (--scenario NAME).`,
  );
};
