import { expect } from 'chai';
import { sha256Digest } from '../../../infrastructure/system/sha256-digest.js';

describe('sha256Digest', () => {
  it('is SHA-256, the same on every instance and in every release', () => {
    // The first example of FIPS 180-2, appendix B, in base64url.
    expect(sha256Digest('abc')).to.equal('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0');
    expect(sha256Digest('')).to.equal('47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU');
  });

  it('differs where the texts differ by one bit', () => {
    expect(sha256Digest('é')).not.to.equal(sha256Digest('è'));
  });
});
