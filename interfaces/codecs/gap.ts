/** A loss, told: the messages above `from` and up to `to` will not come. */
import type { Gap } from '../../application/ports/client-connection.js';
import { formatOffset } from '../../domain/message/offset.js';

/** The members of the JSON object, without its braces. */
export const gapMembers = ({ topic, from, to, reason }: Gap): string =>
  `"topic":"${topic}","from":"${formatOffset(from.offset)}","to":"${formatOffset(to.offset)}","reason":"${reason}"`;
