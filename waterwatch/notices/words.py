"""What authors are told of each step, in mails as on the page. Lazy: each reader reads them in their language."""

from flask_babel import lazy_gettext as _l

REFUSAL_SENTENCES = {
    "not_water": _l("照片里看不到河湖。如果拍到了水面，欢迎换一张照片再报一次。"),
    "unclear": _l("照片看不清问题出在哪里。请走近一些、光线好的时候再拍一张。"),
    "private_matter": _l("这看起来是私人之间的事，我们无法处理。"),
    "indoors": _l("这看起来在室内。本网站只处理河流和湖泊的问题。"),
    "advertisement": _l("内容像是广告，所以没有受理。"),
    "abuse": _l("内容不适合公开处理，所以没有受理。"),
    "duplicate": _l("你发送的与已有的上报相同，问题已经在处理。谢谢你的留意。"),
    "photo_unusable": _l("照片无法读取：文件可能损坏，或者不是照片。请重新拍一张再报一次。"),
}
# Of each step one sentence, which tells neither place nor kind: a mail may be read over somebody's shoulder.
STEP_SENTENCES = {
    "graded": _l("审核员核实了你的上报，并评了等级。"),
    "patrol_confirmed": _l("审核员核实了你的巡护。谢谢你。"),
    "handed_over": _l("已转交主管部门。"),
    "acknowledged": _l("主管部门已确认收到。"),
    "refused": _l("这次没有受理。大约一半的上报不会被受理，这很平常。"),
}
# The whole of what a locked screen may show.
PUSH_SENTENCE = _l("你关注的一条上报有新进展")
