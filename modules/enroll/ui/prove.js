// The page on which a link asks for a one-time password or a log-in. The password may come in the address's fragment, which no server and no log sees.
const form = document.getElementById("prove");
const given = location.hash.slice(1);

if (given) history.replaceState(null, "", location.pathname + location.search);
// A link from a mail comes without the cookies of this browser: what it has proved before still counts.
const status = await fetch(form.dataset.status, { credentials: "same-origin" }).then((answer) => answer.json()).catch(() => ({}));
if (status.need === "") location.replace(location.pathname + location.search);
else if (given && form.elements.otp) {
    form.elements.otp.value = given;
    if (!form.elements.password?.required) form.requestSubmit();
}
