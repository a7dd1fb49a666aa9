"""A mail server for the tests: smtp_server.py FOLDER, which holds `plan.json` and, while it runs, `rules.json`.

It keeps each mail it took, prints the port it listens on, then one JSON object a line for what happened.
"""

import asyncio
import base64
import email
import email.policy
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def say(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Rules:
    """What is refused, and how often: the tests may write the file anew at any time."""

    def __init__(self, path):
        self.path, self.generation, self.rules = path, None, []

    async def answer(self, stage):
        try:
            found = json.load(open(self.path))
        except FileNotFoundError:
            return None
        if found["generation"] != self.generation:
            self.generation, self.rules = found["generation"], found["rules"]
        for rule in self.rules:
            if rule["stage"] == stage and rule["times"] > 0:
                rule["times"] -= 1
                say(event="refused", stage=stage, code=rule["code"])
                if rule["code"] == 0:
                    await asyncio.sleep(3600)
                return f"{rule['code']} {rule['text']}"
        return None


def decoded(mail, kind):
    part = mail.get_body((kind,))
    return part.get_content() if part else None


class Handler:
    def __init__(self, rules):
        self.rules = rules

    async def handle_MAIL(self, server, session, envelope, address, options):
        answer = await self.rules.answer("mail")
        if answer is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return answer or "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = await self.rules.answer("rcpt")
        if answer is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return answer or "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = await self.rules.answer("data")
        if answer is not None:
            return answer
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        user = session.auth_data.login.decode() if session.auth_data else None
        say(
            event="mail",
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            user=user,
            tls=server.transport.get_extra_info("ssl_object") is not None,
            raw=envelope.original_content.decode("utf-8", "replace"),
            headers=[[name, str(value)] for name, value in mail.items()],
            content_type=mail.get_content_type(),
            text=decoded(mail, "plain"),
            html=decoded(mail, "html"),
            defects=[str(defect) for part in mail.walk() for defect in part.defects],
        )
        return await self.rules.answer("taken") or "250 OK"


async def main(folder):
    plan = json.load(open(os.path.join(folder, "plan.json")))
    context = None
    if plan["tls"] != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(os.path.join(folder, "server.crt"), os.path.join(folder, "server.key"))

    def authenticate(server, session, envelope, mechanism, data):
        known = [word.encode() for word in plan["login"] or []]
        good = isinstance(data, LoginPassword) and [data.login, data.password] == known
        say(event="login", mechanism=mechanism, good=good)
        answer = None
        if not good and os.path.exists(os.path.join(folder, "repeats")):
            words = [data.login, data.password, b"\0" + data.login + b"\0" + data.password]
            said = [word.decode() for word in words[:2]] + [base64.b64encode(word).decode() for word in words]
            answer = "535 5.7.8 nobody is called " + " ".join(said)
        return AuthResult(success=good, handled=False, message=answer, auth_data=data if good else None)

    handler = Handler(Rules(os.path.join(folder, "rules.json")))
    offers = plan["tls"] == "starttls"

    def serve():
        say(event="connection")
        return SMTP(
            handler,
            hostname="localhost",
            tls_context=context if offers else None,
            require_starttls=offers,
            auth_require_tls=offers,
            auth_required=plan["login"] is not None,
            authenticator=authenticate,
        )

    server = await asyncio.get_running_loop().create_server(
        serve, "127.0.0.1", 0, ssl=context if plan["tls"] == "implicit" else None
    )
    say(event="ready", port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main(sys.argv[1]))
