// An image that cannot be used: what is wrong with it, and what to do.
export class ImageFault extends Error {
  constructor(wrong, remedy) {
    super(`${wrong}; ${remedy}`);
  }
}
