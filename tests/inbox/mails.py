"""Mails in the forms real systems write them in: bounces, delays, holiday replies, answers with the letter quoted."""

from email.header import Header

OUR_LETTER = "【江湖网】橙色：污水直排（长江），请于 5 月 21 日 10:30 前确认\n地点：114.30550, 30.59280\n"


def lines(text: str) -> bytes:
    """A mail as it travels: CRLF."""
    return text.strip("\n").replace("\n", "\r\n").encode() + b"\r\n"


def encoded(subject: str, charset: str = "utf-8") -> str:
    return Header(subject, charset).encode()


POSTFIX = lines("""
Received: by mx.wuhan.example (Postfix)\tid 4F2A91C0; Wed, 20 May 2026 10:31:02 +0800 (CST)
Date: Wed, 20 May 2026 10:31:02 +0800 (CST)
From: MAILER-DAEMON@mx.wuhan.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: case+x@in.example.org
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4F2A91C0.1779244262/mx.wuhan.example"
Message-Id: <20260520023102.4F2A91C0@mx.wuhan.example>

This is a MIME-encapsulated message.

--4F2A91C0.1779244262/mx.wuhan.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.wuhan.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

                   The mail system

<huanbao@wuhan.example>: host imap.wuhan.example[10.0.0.3] said: 550 5.1.1
    <huanbao@wuhan.example>: Recipient address rejected: User unknown (in reply
    to RCPT TO command)

--4F2A91C0.1779244262/mx.wuhan.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.wuhan.example
X-Postfix-Queue-ID: 4F2A91C0
X-Postfix-Sender: rfc822; case+x@in.example.org
Arrival-Date: Wed, 20 May 2026 10:31:01 +0800 (CST)

Final-Recipient: rfc822; huanbao@wuhan.example
Original-Recipient: rfc822;huanbao@wuhan.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; imap.wuhan.example
Diagnostic-Code: smtp; 550 5.1.1 <huanbao@wuhan.example>: Recipient address
    rejected: User unknown

--4F2A91C0.1779244262/mx.wuhan.example
Content-Description: Undelivered Message
Content-Type: message/rfc822

From: waterwatch@example.org
To: huanbao@wuhan.example
Subject: a letter
Message-ID: <d@example.org>

the letter
--4F2A91C0.1779244262/mx.wuhan.example--
""")

POSTFIX_DELAY = (
    POSTFIX.replace(b"Undelivered Mail Returned to Sender", b"Delayed Mail (still being retried)")
    .replace(b"Action: failed", b"Action: delayed")
    .replace(b"Status: 5.1.1", b"Status: 4.4.1")
    .replace(b"@mx.wuhan.example>\r\n\r\nThis", b"@delay.wuhan.example>\r\n\r\nThis")
)

# Exim writes no report of the standard's form unless told to.
EXIM = lines("""
Return-path: <>
Received: from Debian-exim by mail.hubei.example with local (Exim 4.96)
\tid 1uABCD-0001xy-2Q for case+x@in.example.org; Wed, 20 May 2026 10:31:02 +0800
X-Failed-Recipients: shuiwu@hubei.example
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mail.hubei.example>
To: case+x@in.example.org
Subject: Mail delivery failed: returning message to sender
Message-Id: <E1uABCD-0001xy-2Q@mail.hubei.example>
Date: Wed, 20 May 2026 10:31:02 +0800

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  shuiwu@hubei.example
    SMTP error from remote mail server after RCPT TO:<shuiwu@hubei.example>:
    host mx.hubei.example [10.0.0.9]: 550 5.7.1 relaying denied

------ This is a copy of the message, including all the headers. ------

Return-path: <case+x@in.example.org>
""")

EXCHANGE = lines(f"""
From: =?utf-8?B?TWljcm9zb2Z0IE91dGxvb2s=?= <postmaster@gov.example>
To: <case+x@in.example.org>
Date: Wed, 20 May 2026 02:31:05 +0000
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="_000_2f3e_"
X-MS-Exchange-Message-Is-Ndr:
Content-Language: zh-CN
Message-ID: <0b1c@gov.example>
In-Reply-To: <d@example.org>
Subject: {encoded("未送达: 污水直排")}
Auto-Submitted: auto-replied
X-MS-Exchange-Organization-AuthSource: ex1.gov.example

--_000_2f3e_
Content-Type: multipart/alternative; differences=Content-Type;
\tboundary="_001_2f3e_"

--_001_2f3e_
Content-Type: text/plain; charset="gb2312"
Content-Transfer-Encoding: base64

zt63qLSrtt06IGh1YW5iYW9AZ292LmV4YW1wbGU=

--_001_2f3e_--

--_000_2f3e_
Content-Type: message/delivery-status

Reporting-MTA: dns;ex1.gov.example
Received-From-MTA: dns;in.example.org
Arrival-Date: Wed, 20 May 2026 02:31:04 +0000

Final-Recipient: rfc822;huanbao@gov.example
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp;554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException
X-Display-Name: huanbao

--_000_2f3e_--
""")

QQ = lines(f"""
From: "{encoded("QQ邮箱团队")}" <postmaster@qq.com>
To: case+x@in.example.org
Subject: {encoded("系统退信/Systems bounce", "gb18030")}
Mime-Version: 1.0
Content-Type: text/html; charset="gb18030"
Content-Transfer-Encoding: base64
Date: Wed, 20 May 2026 10:31:05 +0800
Message-ID: <tencent_5D0A@qq.com>
X-QQ-MIME: TCMime 1.0 by Tencent

PGRpdj7E47XE08q8/tLysbu2uMqVz/uwsrfWyKi1xNStstPNy7rzvs25vA==
""")

NETEASE = lines(f"""
From: Postmaster@163.com
To: case+x@in.example.org
Subject: {encoded("系统退信", "gbk")}
Date: Wed, 20 May 2026 10:31:05 +0800 (CST)
Message-Id: <6A0D.coremail@163.com>
MIME-Version: 1.0
Content-Type: multipart/report; boundary="----=_Part_1_1.1779244265"; report-type=delivery-status

------=_Part_1_1.1779244265
Content-Type: text/html; charset=gbk
Content-Transfer-Encoding: base64

PHA+xPq1xNPKvP7Qor3Nu8vNss08L3A+

------=_Part_1_1.1779244265
Content-Type: message/delivery-status

Reporting-MTA: dns; m15-110.126.com
Arrival-Date: Wed, 20 May 2026 10:31:04 +0800

Final-recipient: RFC822; <shuiju@163.com>
Action: Failed
Status: 5.0.0
Diagnostic-Code: SMTP; 550 User not found: shuiju@163.com

------=_Part_1_1.1779244265--
""")

SENDMAIL = lines("""
Received: from localhost (localhost)
\tby relay.example (8.15.2/8.15.2) id 44K2V5Zq001234; Wed, 20 May 2026 10:31:05 +0800
Date: Wed, 20 May 2026 10:31:05 +0800
From: Mail Delivery Subsystem <MAILER-DAEMON@relay.example>
Message-Id: <202605200231.44K2V5Zq001234@relay.example>
To: <case+x@in.example.org>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="44K2V5Zq001234.1779244265/relay.example"
Subject: Returned mail: see transcript for details
Auto-Submitted: auto-generated (failure)

This is a MIME-encapsulated message

--44K2V5Zq001234.1779244265/relay.example

The original message was received at Wed, 20 May 2026 10:31:04 +0800
from in.example.org [10.0.0.1]

   ----- The following addresses had permanent fatal errors -----
<chengguan@relay.example>
    (reason: 550 5.1.2 Host unknown)

--44K2V5Zq001234.1779244265/relay.example
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example
Received-From-MTA: DNS; in.example.org
Arrival-Date: Wed, 20 May 2026 10:31:04 +0800

Final-Recipient: RFC822; chengguan@relay.example
Action: failed
Status: 5.1.2
Last-Attempt-Date: Wed, 20 May 2026 10:31:05 +0800

--44K2V5Zq001234.1779244265/relay.example--
""")

SENDMAIL_WARNING = lines("""
From: Mail Delivery Subsystem <MAILER-DAEMON@relay.example>
Message-Id: <202605200631.44K6@relay.example>
To: <case+x@in.example.org>
Subject: Warning: could not send message for past 4 hours
Auto-Submitted: auto-generated (warning-timeout)
Content-Type: text/plain

    **********************************************
    **      THIS IS A WARNING MESSAGE ONLY      **
    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **
    **********************************************

The original message was received at Wed, 20 May 2026 10:31:04 +0800

   ----- The following addresses had transient non-fatal errors -----
<chengguan@relay.example>
   ----- Transcript of session follows -----
451 4.4.1 reply: read error from mx.relay.example.
Warning: message still undelivered after 4 hours
""")

QMAIL = lines("""
From: MAILER-DAEMON@qmail.example
To: case+x@in.example.org
Subject: failure notice
Message-Id: <q1@qmail.example>

Hi. This is the qmail-send program at qmail.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<hezhang@qmail.example>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.
""")

DELIVERED = POSTFIX.replace(b"Action: failed", b"Action: delivered").replace(b"Status: 5.1.1", b"Status: 2.0.0")

BOUNCES = {
    "postfix": (POSTFIX, "5.1.1"),
    "exim": (EXIM, "5.7.1"),
    "exchange": (EXCHANGE, "5.2.2"),
    "qq": (QQ, None),
    "163": (NETEASE, "5.0.0"),
    "sendmail": (SENDMAIL, "5.1.2"),
    "qmail": (QMAIL, "5.1.1"),
}
DELAYS = {"postfix": (POSTFIX_DELAY, "4.4.1"), "sendmail": (SENDMAIL_WARNING, "4.4.1")}


def simple(
    text: str,
    *,
    subject: str = "回复：【江湖网】橙色：污水直排",
    sender: str = "王科 <wang@wuhan.example>",
    charset: str = "utf-8",
    kind: str = "plain",
    extra: str = "",
    message_id: str = "<answer-1@wuhan.example>",
) -> bytes:
    """One part, 8 bits, in a charset."""
    head = (
        f"From: {Header(sender.split(' <', maxsplit=1)[0], charset).encode()} <{sender.partition('<')[2]}\n"
        f"To: case+x@in.example.org\nSubject: {encoded(subject, charset)}\nMessage-ID: {message_id}\n"
        f"Date: Wed, 20 May 2026 11:02:00 +0800\nMIME-Version: 1.0\n{extra}"
        f"Content-Type: text/{kind}; charset={charset}\nContent-Transfer-Encoding: 8bit\n\n"
    )
    return head.replace("\n", "\r\n").encode() + text.replace("\n", "\r\n").encode(charset)


AWAY = {
    "exchange in Chinese": simple(
        "我正在外地参加培训，5 月 25 日返回。",
        subject="自动答复: 【江湖网】橙色：污水直排",
        extra="Auto-Submitted: auto-generated\nX-Auto-Response-Suppress: All\n",
    ),
    "qq": simple(
        "您好，您的邮件已收到，我会尽快回复您。", subject="自动回复:【江湖网】橙色：污水直排", charset="gb18030"
    ),
    "163": simple("我已收到您的来信。", subject="自动回复: 【江湖网】", charset="gbk", extra="X-AutoReply: true\n"),
    "foxmail": simple("本人出差", subject="[自动回复] 【江湖网】"),
    "taiwan": simple("我休假中", subject="自動回覆: 【江湖網】", charset="big5"),
    "gmail": simple("On leave", subject="Out of office: a letter", extra="Precedence: bulk\nX-Autoreply: yes\n"),
    "rfc 3834": simple("已收到", subject="Re: a letter", extra="Auto-Submitted: auto-replied (vacation)\n"),
}

SAID = "您好：\n\n经现场核查，该排口为雨污混接，已责成水务集团于6月10日前整改完毕。\n联系人：王工"
US, WHEN = "江湖网 <waterwatch@example.org>", "2026年5月20日 10:30"
MARKED = "> " + OUR_LETTER.replace("\n", "\n> ")
ABOVE = {
    "outlook": f"发件人: {US}\n发送时间: {WHEN}\n收件人: huanbao@wuhan.example\n主题: 橙色\n\n{OUR_LETTER}",
    "outlook with a rule": f"{'_' * 32}\n发件人： {US}\n发送时间： {WHEN}\n主题： 橙色\n\n{OUR_LETTER}",
    "qq": f"\n\n------------------\xa0原始邮件\xa0------------------\n发件人: {US};\n"
    f"发送时间: 2026年5月20日(星期三) 上午10:30\n收件人: huanbao@qq.com;\n\n主题: 橙色\n\n{OUR_LETTER}",
    "foxmail": f"\n\n发件人： 江湖网\n发送时间： 2026-05-20 10:30\n收件人： huanbao\n主题： 橙色\n{OUR_LETTER}",
    "apple mail": f"> 2026年5月20日 上午10:30，江湖网·预警图 <case+abc@in.example.org> 写道：\n> \n{MARKED}",
    "apple mail, wrapped": f"2026年5月20日 上午10:30，江湖网·预警图\n<case+abc@in.example.org> 写道：\n\n{MARKED}",
    "163": f"\n\n\n在 2026-05-20 10:30:00，{US} 写道：\n\n{OUR_LETTER}",
    "netease master": f"---- 回复的原邮件 ----\n| 发件人 | {US} |\n| 发送日期 | 2026年05月20日 10:30 |\n{OUR_LETTER}",
    "gmail": f"江湖网 <waterwatch@example.org> 于2026年5月20日周三 10:30写道：\n\n{MARKED}",
    "english": f"On Wed, May 20, 2026 at 10:30 AM WaterWatch <waterwatch@example.org> wrote:\n\n{MARKED}",
    "traditional": f"寄件者: {US}\n寄件日期: {WHEN}\n收件者: huanbao\n主旨: 橙色\n\n{OUR_LETTER}",
    "phone": f"发自我的iPhone\n\n> 在 2026年5月20日，10:30，江湖网 <case+abc@in.example.org> 写道：\n> \n{MARKED}",
    "alone": "",
}
QUOTED = {program: f"{SAID}\n\n{below}" for program, below in ABOVE.items()}
