// An image stands in the page once; where it is shown again, its address is copied.
document.querySelectorAll("img[data-same]").forEach(image => {
  image.src = document.getElementById(image.dataset.same).src;
});
