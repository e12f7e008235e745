(function () {
  if (!navigator.clipboard) return;
  document.querySelectorAll("button[data-copy]").forEach(function (button) {
    var text = button.textContent, label = button.getAttribute("aria-label");
    function say(text, label) { button.textContent = text; button.setAttribute("aria-label", label); }
    button.hidden = false;
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(document.getElementById(button.dataset.copy).value).then(function () {
        say(button.dataset.done, button.dataset.done);
        setTimeout(say, 2000, text, label);
      });
    });
  });
})();
