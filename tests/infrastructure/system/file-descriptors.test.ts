import { expect } from 'chai';
import { parseDescriptorsMax } from '../../../infrastructure/system/file-descriptors.js';

const HEAD = `Limit                     Soft Limit           Hard Limit           Units     
Max processes             96408                96408                processes 
`;

describe('the limit of open files', () => {
  it('is the soft one', () => {
    const line = 'Max open files            1024                 524288               files     \n';
    expect(parseDescriptorsMax(HEAD + line)).to.equal(1024);
  });

  it('is none where there is none, or nobody says it', () => {
    const line = 'Max open files            unlimited            unlimited            files     \n';
    expect(parseDescriptorsMax(HEAD + line)).to.equal(undefined);
    expect(parseDescriptorsMax('')).to.equal(undefined);
  });
});
