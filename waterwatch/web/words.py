"""The words of the domain's codes, shared by every room's pages. Lazy: each viewer reads them in their language."""

from flask_babel import lazy_gettext as _l

KIND_WORDS = {
    "black_odorous": _l("黑臭水体"),
    "sewage_outfall": _l("污水直排"),
    "industrial_discharge": _l("工业废水、异常颜色"),
    "algal_bloom": _l("蓝藻水华"),
    "oil_slick": _l("油污"),
    "fish_kill": _l("死鱼"),
    "floating_garbage": _l("漂浮垃圾"),
    "foam": _l("泡沫"),
    "farm_runoff": _l("畜禽、水产养殖污染"),
    "sand_mining": _l("非法采砂"),
    "encroachment": _l("侵占岸线、填湖"),
    "waste_dumping": _l("倾倒固体废物"),
    "other": _l("其他"),
}
# What a report may say; an incident is never "in order".
REPORT_KIND_WORDS = KIND_WORDS | {"all_clear": _l("巡护：水面正常")}
COLOUR_WORDS = {
    "clear": _l("清澈"),
    "white": _l("乳白"),
    "grey": _l("灰"),
    "black": _l("黑"),
    "brown": _l("褐"),
    "yellow": _l("黄"),
    "green": _l("绿"),
    "red": _l("红"),
    "oily": _l("油光"),
    "other": _l("其他颜色"),
}
SINCE_WORDS = {
    "today": _l("今天才有"),
    "this_week": _l("这一周"),
    "this_month": _l("这个月"),
    "longer": _l("更久"),
}
MEASURED_WORDS = {
    "transparency_cm": (_l("透明度"), "cm"),
    "water_depth_cm": (_l("水深"), "cm"),
    "ph": ("pH", ""),
    "do_mg_l": (_l("溶解氧"), "mg/L"),
    "nh3n_mg_l": (_l("氨氮"), "mg/L"),
    "orp_mv": (_l("氧化还原电位"), "mV"),
    "temperature_c": (_l("水温"), "°C"),
}
SEVERITY_WORDS = {1: _l("蓝色·一般"), 2: _l("黄色·较大"), 3: _l("橙色·重大"), 4: _l("红色·特别重大")}
EXTENT_WORDS = {
    "spot": _l("一个点"),
    "under_100_m": _l("不到 100 米"),
    "under_1_km": _l("100 米到 1 公里"),
    "over_1_km": _l("超过 1 公里，或湖面的十分之一以上"),
}
SMELL_WORDS = {0: _l("没有气味"), 1: _l("轻微"), 2: _l("明显"), 3: _l("刺鼻")}
RECEPTOR_WORDS = {
    "bathing_fishing": _l("游泳、垂钓或养殖水域"),
    "nature_reserve": _l("自然保护区"),
    "drinking_water": _l("饮用水水源保护区"),
}
REPORT_STATE_WORDS = {
    "received": _l("已收到"),
    "sanitising": _l("已收到"),
    "in_review": _l("审核中"),
    "accepted": _l("已受理"),
    "merged": _l("已受理"),
    "refused": _l("没有受理"),
    "withdrawn": _l("你已撤回"),
}
CONTACT_ERROR_WORDS = {
    "contact_missing": _l("请填写邮箱或电话。"),
    "contact_email_malformed": _l("请填写正确的邮箱地址，例如 wang@example.org。"),
    "contact_phone_malformed": _l("没有看懂电话号码。请只写数字，例如 027 8888 8888。"),
    "contact_use_missing": _l("请勾选联系方式可以用来做什么，或者不留联系方式。"),
}
REPORT_STATE_WORDS = {
    "received": _l("已收到"),
    "sanitising": _l("正在处理照片"),
    "in_review": _l("等待审核"),
    "accepted": _l("已受理"),
    "merged": _l("已并入事件"),
    "refused": _l("已退回"),
    "withdrawn": _l("已撤回"),
}
INCIDENT_STATE_WORDS = {
    "open": _l("待处理"),
    "answered": _l("部门已答复"),
    "resolved_claimed": _l("部门称已解决，待公众核实"),
    "verified_clean": _l("公众核实已清洁"),
    "reopened": _l("核实未解决，重新打开"),
    "expired": _l("长期无人确认，已结束"),
    "merged": _l("已并入另一起事件"),
    "retracted": _l("已撤下"),
}
TIMELINE_WORDS = {
    "opened": _l("核实受理，向公众公开"),
    "confirmed": _l("又有上报证实"),
    "seconded": _l("第二位审核员复核为红色"),
    "regraded": _l("重新评级"),
    "stepped_down": _l("一段时间无人再报告，降一级"),
    "split": _l("其中一部分另立为一起事件"),
    "absorbed": _l("另一起事件并入这里"),
    "detached": _l("有一条上报不再算在内"),
    "verified_clean": _l("新的照片证实水面已经干净"),
    "reopened": _l("重新打开"),
    "resolved_claimed": _l("部门都称已经处理完，待公众核实"),
    "answered": _l("部门答复"),
    "claimed_done": _l("部门称已经处理完"),
    "overdue": _l("部门逾期"),
    "superior_told": _l("因下级部门逾期，告知上级部门"),
    "expired": _l("长期无人报告，结束"),
    "forwarded": _l("转交给部门"),
    "told_again": _l("没有干净，再次转交给部门"),
    "acknowledged": _l("部门确认收到"),
    "refused": _l("部门称不属其职责"),
}
CASE_STATE_WORDS = {
    "queued": _l("正在转交"),
    "delivered": _l("已送达，等待确认"),
    "acknowledged": _l("部门已确认收到"),
    "answered": _l("部门已答复"),
    "closed": _l("部门称已办结"),
    "no_contact": _l("没有可联系的部门"),
    "refused_not_ours": _l("部门称不属其职责"),
    "dead": _l("无法送达，已转人工处理"),
    "withdrawn": _l("已撤回，不再需要处理"),
}
ANSWER_KIND_WORDS = {
    "answer": _l("答复"),
    "done": _l("称已处理完"),
    "not_ours": _l("称不属其职责"),
    "comment": _l("补充"),
}
REFUSAL_WORDS = {
    "not_water": _l("照片里看不到水体"),
    "unclear": _l("照片看不清问题"),
    "private_matter": _l("涉及私人纠纷"),
    "indoors": _l("室内问题"),
    "advertisement": _l("广告"),
    "abuse": _l("不当内容"),
    "duplicate": _l("与已有上报重复"),
    "photo_unusable": _l("照片无法读取"),
}
# Ready words to the author, by reason: kind, and what to do next. The moderator may change every one of them.
READY_WORDS = {
    "not_water": _l("谢谢你的留意。照片里没有看到水面，请站到能看见水的地方再拍一张，我们会马上看。"),
    "unclear": _l("谢谢你的留意。照片有些远或暗，看不清问题在哪里。方便的话请走近一些、光线好的时候再拍一张。"),
    "private_matter": _l("谢谢你的信任。这件事看来是私人之间的，我们没有办法处理，可以请社区或街道帮忙。"),
    "indoors": _l("谢谢你的留意。这里在室内，不归本网站处理，可以告诉物业或自来水公司。"),
    "advertisement": _l("这里只收河流和湖泊的问题，没有办法发布其他信息，请谅解。"),
    "abuse": _l("这条内容我们不能公开处理。如果水确实有问题，欢迎只说水的情况再报一次。"),
    "duplicate": _l("谢谢你的留意。同一个问题已经有人上报，正在处理；情况有变化时欢迎再报一次。"),
    "photo_unusable": _l("谢谢你的留意。照片打不开，可能在发送时损坏了，请重新拍一张再报一次。"),
}
QUESTION_WORDS = {
    "where_exactly": _l("问题具体在哪里？例如离哪座桥、哪个路口多远，在哪一侧岸边。"),
    "which_water": _l("这是哪条河、哪个湖？"),
    "what_is_seen": _l("照片里指的是什么？请说说你看到、闻到了什么。"),
    "still_there": _l("现在还在吗？"),
    "since_when": _l("是什么时候开始的？"),
    "other": _l("另外一个问题"),
}
HAND_WORDS = {
    "unsure": _l("拿不准"),
    "involves_staff": _l("涉及我们自己的人"),
    "threat": _l("有人可能有危险"),
    "legal": _l("涉及法律问题"),
    "large_event": _l("可能是一件大事"),
    "other": _l("其他"),
}
AGENCY_KIND_WORDS = {
    "ecology_environment": _l("生态环境局"),
    "water": _l("水务、水利局"),
    "urban_management": _l("城市管理局"),
    "agriculture": _l("农业农村局"),
    "maritime": _l("海事局"),
    "river_chief_office": _l("河长制办公室"),
    "basin_authority": _l("流域管理机构"),
    "waterworks": _l("供水单位"),
}
WATER_KIND_WORDS = {
    "river": _l("河流"),
    "canal": _l("运河、渠道"),
    "lake": _l("湖泊"),
    "reservoir": _l("水库"),
    "pond": _l("池塘"),
}
AREA_LEVEL_WORDS = {"province": _l("省级"), "prefecture": _l("地级"), "county": _l("县级"), "basin": _l("流域")}
PLACE_SOURCE_WORDS = {"pin": _l("地图定位"), "device": _l("手机定位"), "typed": _l("手工输入")}
REASON_WORDS = {
    "ongoing": _l("正在发生"),
    "persisting": _l("持续超过 7 天或此前已有上报"),
    "dead_animals": _l("有动物死亡"),
    "ill_people": _l("有人身体不适"),
    "independent_reports": _l("有两位以上互不相干的上报人"),
    "hazard": _l("污染类型的危害"),
    "extent": _l("范围"),
    "receptor": _l("受影响的水域"),
}
ZONE_WORDS = {
    "intake": _l("饮用水取水口"),
    "drinking_water": _l("饮用水水源保护区"),
    "nature_reserve": _l("自然保护区"),
    "bathing": _l("游泳水域"),
}
ZONE_GRADE_WORDS = {"drinking_water": {1: _l("一级保护区"), 2: _l("二级保护区"), 3: _l("准保护区")}}
URGENCY_WORDS = {2: _l("紧急"), 1: _l("优先"), 0: _l("一般")}
ASIDE_WORDS = {"lead": _l("等组长处理"), "question": _l("等上报人回答")}
