# ST-GCN++ (Duan et al., PYSKL, 2022) that tells a fight from what only looks like one, in COCO-17 skeletons.
# Plain data: literals, names and dict() only, so that a reader need not execute anything.
#
# Run from the folder that holds data/clips.pkl, as `python scripts/train_demo.py` arranges it.

default_scope = 'mmaction'

class_names = ['normal', 'fight']  # label 0, label 1
num_person = 4  # M
clip_len = 100  # T
train_clip_len = 48  # training clips are shorter, which halves the time; the network pools over T

model = dict(
    type='RecognizerGCN',
    backbone=dict(
        type='STGCN',
        in_channels=2,  # x, y; no score
        gcn_adaptive='init',
        gcn_with_res=True,
        tcn_type='mstcn',
        graph_cfg=dict(layout='coco', mode='spatial'),
        num_stages=6,
        base_channels=48,
        inflate_stages=[3, 5],
        down_stages=[3, 5]),
    cls_head=dict(
        type='GCNHead',
        num_classes=2,
        in_channels=192,
        loss_cls=dict(type='CrossEntropyLoss')))

dataset_type = 'PoseDataset'
ann_file = 'data/clips.pkl'

# GenSkeFeat and FormatGCNInput append keypoint_score as a third channel where an annotation has it. KeyMapper hides
# it from them (`...` is mmcv's mark for a key to ignore), so that clips with and without scores give C = 2.
train_pipeline = [
    dict(type='PreNormalize2D'),
    dict(
        type='KeyMapper',
        mapping=dict(keypoint_score=...),
        remapping=dict(keypoint='keypoint'),
        transforms=[dict(type='GenSkeFeat', dataset='coco', feats=['b'])]),
    dict(type='UniformSampleFrames', clip_len=train_clip_len, num_clips=1),
    dict(type='PoseDecode'),
    dict(
        type='KeyMapper',
        mapping=dict(keypoint_score=...),
        remapping=dict(keypoint='keypoint'),
        transforms=[dict(type='FormatGCNInput', num_person=num_person)]),
    dict(type='PackActionInputs')
]
val_pipeline = [
    dict(type='PreNormalize2D'),
    dict(
        type='KeyMapper',
        mapping=dict(keypoint_score=...),
        remapping=dict(keypoint='keypoint'),
        transforms=[dict(type='GenSkeFeat', dataset='coco', feats=['b'])]),
    dict(type='UniformSampleFrames', clip_len=clip_len, num_clips=1, test_mode=True),
    dict(type='PoseDecode'),
    dict(
        type='KeyMapper',
        mapping=dict(keypoint_score=...),
        remapping=dict(keypoint='keypoint'),
        transforms=[dict(type='FormatGCNInput', num_person=num_person)]),
    dict(type='PackActionInputs')
]
test_pipeline = val_pipeline

train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, ann_file=ann_file, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, ann_file=ann_file, split='val', pipeline=val_pipeline, test_mode=True))
test_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, ann_file=ann_file, split='test', pipeline=test_pipeline, test_mode=True))

val_evaluator = [dict(type='AccMetric', metric_list=('top_k_accuracy', 'mean_class_accuracy'),
                      metric_options=dict(top_k_accuracy=dict(topk=(1,))))]
test_evaluator = [dict(type='AccMetric', metric_list=('top_k_accuracy', 'mean_class_accuracy'),
                       metric_options=dict(top_k_accuracy=dict(topk=(1,)))),
                  dict(type='ConfusionMatrix', num_classes=2)]

max_epochs = 2
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(optimizer=dict(type='AdamW', lr=0.003, weight_decay=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=40, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, T_max=max_epochs, by_epoch=True, convert_to_iter_based=True)]

randomness = dict(seed=0, deterministic=True)
default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=20, ignore_last=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sync_buffers=dict(type='SyncBuffersHook'))
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='gloo'))
log_processor = dict(type='LogProcessor', window_size=20, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
work_dir = 'work'
