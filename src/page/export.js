export const { mount, challenge } = portcullis;
export default portcullis;
