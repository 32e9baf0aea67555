import { expect } from 'chai';
import fc from 'fast-check';
import { formatMessageId } from '../../../domain/message/message-id.js';
import { isoTime } from '../../../interfaces/codecs/iso-time.js';
import { publishedFrame } from '../../../interfaces/codecs/server-frame.js';
import { anyTopicName } from '../../support/arbitraries.js';
import { aCursor } from '../../support/builders.js';

describe('published frames', () => {
  it('are what JSON.stringify would make of them', () => {
    const anyId = fc.option(
      fc.oneof(fc.string({ unit: 'binary', maxLength: 128 }), fc.integer(), fc.double({ noNaN: true })),
      { nil: undefined },
    );
    fc.assert(
      fc.property(
        anyId,
        anyTopicName,
        fc.integer({ min: 1, max: 9_999 }),
        fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(8e12) }),
        fc.boolean(),
        (id, topic, sequence, date, isDuplicate) => {
          const { offset } = aCursor(sequence);
          const publishedAt = date.getTime();
          expect(publishedFrame(id, { topic, offset, publishedAt, isDuplicate })).to.equal(
            JSON.stringify({
              type: 'published',
              id,
              message_id: formatMessageId(topic, offset),
              topic,
              timestamp: date.toISOString(),
              duplicate: isDuplicate ? true : undefined,
            }),
          );
        },
      ),
    );
  });
});

describe('isoTime', () => {
  it('is what a Date says, whether the same instant was asked for before or another', () => {
    const instants = [0, 0, 1, 1, 0, 1_735_689_600_000, 1_735_689_600_001, 1_735_689_600_000];
    for (const instant of instants) expect(isoTime(instant)).to.equal(new Date(instant).toISOString());
  });
});
