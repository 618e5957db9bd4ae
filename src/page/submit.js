// A field of the provider's may be called "submit" and hide the form's own method.
HTMLFormElement.prototype.submit.call(document.getElementById('handoff'));
